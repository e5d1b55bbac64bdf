"""Every operation of Harbor's API, and those that we add to it, drawn once: method, path, id, and what a caller needs.

A security review reads this table; the authorization matrix of the tests is generated from it. Who answers an operation
is said by its id, in the modules beside this one. What a caller needs is one of:

- ``open``: nothing; what is answered may differ by who asks, as lists of what somebody may see do;
- ``asked``: nothing yet; who answers asks for what the request shows to be needed;
- ``signed-in``: a user or a robot;
- ``own``: the same, and who answers asks further, by what the request is about;
- ``system:RESOURCE:ACTION``: that permission in the system, which administrators and some robots have;
- ``project:RESOURCE:ACTION``: that permission in the project that the path names;
- ``named:RESOURCE:ACTION``: the same, and to be signed in, although anybody may do it in a public project;
- ``internal``: to be a part of Harbor itself, which nobody is here.
"""

# ruff: noqa: E501 - an operation is one line of the table, however long its path.
from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from moorage.identity.roles import Permission

PREFIX: Final = "/api/v2.0"
_PARAMETER = re.compile(r"\{(\w+)\}")


class Needs(Enum):
    """What a caller must show before an operation is answered."""

    OPEN = "open"
    ASKED = "asked"
    SIGNED_IN = "signed-in"
    OWN = "own"
    SYSTEM = "system"
    PROJECT = "project"
    NAMED = "named"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Operation:
    """A line of the table."""

    method: str
    path: str
    id: str
    needs: Needs
    permission: Permission | None = None
    """Which one it needs, in the system or in a project."""
    added: bool = False
    """Whether it is ours, and not Harbor's."""

    @property
    def parameters(self) -> list[str]:
        """List the names that stand in the path for values."""
        return _PARAMETER.findall(self.path)

    @property
    def changes(self) -> bool:
        """Say whether it may change anything."""
        return self.method not in {"GET", "HEAD"}


_TABLE = """
# health
GET /health getHealth open
# search
GET /search search open
# statistic
GET /statistics getStatistic signed-in
# Ldap
POST /ldap/ping pingLdap system:configuration:read
GET /ldap/users/search searchLdapUser system:ldap-user:list
POST /ldap/users/import importLdapUser system:ldap-user:create
GET /ldap/groups/search searchLdapGroup system:ldap-user:list
# configure
GET /internalconfig getInternalconfig internal
GET /configurations getConfigurations system:configuration:read
PUT /configurations updateConfigurations system:configuration:update
# project
GET /projects listProjects open
HEAD /projects headProject signed-in
POST /projects createProject own
GET /projects/{project_name_or_id} getProject project:project:read
PUT /projects/{project_name_or_id} updateProject project:project:update
DELETE /projects/{project_name_or_id} deleteProject project:project:delete
GET /projects/{project_name_or_id}/_deletable getProjectDeletable project:project:delete
GET /projects/{project_name_or_id}/summary getProjectSummary project:project:read
GET /projects/{project_name_or_id}/artifacts listArtifactsOfProject named:artifact:list
GET /projects/{project_name_or_id}/scanner getScannerOfProject named:scanner:read
PUT /projects/{project_name_or_id}/scanner setScannerOfProject named:scanner:create
GET /projects/{project_name_or_id}/scanner/candidates listScannerCandidatesOfProject named:scanner:create
GET /projects/{project_name}/logs getLogs project:log:list
GET /projects/{project_name}/auditlog-exts getLogExts project:log:list
# member
GET /projects/{project_name_or_id}/members listProjectMembers project:member:list
POST /projects/{project_name_or_id}/members createProjectMember project:member:create
GET /projects/{project_name_or_id}/members/{mid} getProjectMember project:member:read
PUT /projects/{project_name_or_id}/members/{mid} updateProjectMember project:member:update
DELETE /projects/{project_name_or_id}/members/{mid} deleteProjectMember project:member:delete
# projectMetadata
GET /projects/{project_name_or_id}/metadatas/ listProjectMetadatas project:metadata:list
POST /projects/{project_name_or_id}/metadatas/ addProjectMetadatas project:metadata:create
GET /projects/{project_name_or_id}/metadatas/{meta_name} getProjectMetadata project:metadata:read
PUT /projects/{project_name_or_id}/metadatas/{meta_name} updateProjectMetadata project:metadata:update
DELETE /projects/{project_name_or_id}/metadatas/{meta_name} deleteProjectMetadata project:metadata:delete
# repository
GET /repositories listAllRepositories open
GET /projects/{project_name}/repositories listRepositories project:repository:list
GET /projects/{project_name}/repositories/{repository_name} getRepository project:repository:read
PUT /projects/{project_name}/repositories/{repository_name} updateRepository project:repository:update
DELETE /projects/{project_name}/repositories/{repository_name} deleteRepository project:repository:delete
# artifact
GET /projects/{project_name}/repositories/{repository_name}/artifacts listArtifacts project:artifact:list
POST /projects/{project_name}/repositories/{repository_name}/artifacts CopyArtifact project:artifact:create
GET /projects/{project_name}/repositories/{repository_name}/artifacts/{reference} getArtifact project:artifact:read
DELETE /projects/{project_name}/repositories/{repository_name}/artifacts/{reference} deleteArtifact project:artifact:delete
POST /projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/tags createTag project:tag:create
GET /projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/tags listTags project:tag:list
DELETE /projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/tags/{tag_name} deleteTag project:tag:delete
GET /projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/accessories listAccessories project:accessory:list
GET /projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/additions/vulnerabilities getVulnerabilitiesAddition project:artifact-addition:read
GET /projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/additions/{addition} getAddition project:artifact-addition:read
POST /projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/labels addLabel project:artifact-label:create
DELETE /projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/labels/{label_id} removeLabel project:artifact-label:delete
# scan
POST /projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/scan scanArtifact project:scan:create
POST /projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/scan/stop stopScanArtifact project:scan:stop
GET /projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/scan/{report_id}/log getReportLog project:scan:read
# auditlog
GET /audit-logs listAuditLogs own
GET /auditlog-exts listAuditLogExts own
GET /auditlog-exts/events listAuditLogEventTypes system:audit-log:list
# preheat
GET /p2p/preheat/providers ListProviders system:preheat-instance:list
POST /p2p/preheat/instances/ping PingInstances system:preheat-instance:read
GET /p2p/preheat/instances ListInstances system:preheat-instance:list
POST /p2p/preheat/instances CreateInstance system:preheat-instance:create
GET /p2p/preheat/instances/{preheat_instance_name} GetInstance system:preheat-instance:read
DELETE /p2p/preheat/instances/{preheat_instance_name} DeleteInstance system:preheat-instance:delete
PUT /p2p/preheat/instances/{preheat_instance_name} UpdateInstance system:preheat-instance:update
POST /projects/{project_name}/preheat/policies CreatePolicy project:preheat-policy:create
GET /projects/{project_name}/preheat/policies ListPolicies project:preheat-policy:list
GET /projects/{project_name}/preheat/policies/{preheat_policy_name} GetPolicy project:preheat-policy:read
PUT /projects/{project_name}/preheat/policies/{preheat_policy_name} UpdatePolicy project:preheat-policy:update
POST /projects/{project_name}/preheat/policies/{preheat_policy_name} ManualPreheat project:preheat-policy:read
DELETE /projects/{project_name}/preheat/policies/{preheat_policy_name} DeletePolicy project:preheat-policy:delete
GET /projects/{project_name}/preheat/policies/{preheat_policy_name}/executions ListExecutions project:preheat-policy:list
GET /projects/{project_name}/preheat/policies/{preheat_policy_name}/executions/{execution_id} GetExecution project:preheat-policy:read
PATCH /projects/{project_name}/preheat/policies/{preheat_policy_name}/executions/{execution_id} StopExecution project:preheat-policy:update
GET /projects/{project_name}/preheat/policies/{preheat_policy_name}/executions/{execution_id}/tasks ListTasks project:preheat-policy:list
GET /projects/{project_name}/preheat/policies/{preheat_policy_name}/executions/{execution_id}/tasks/{task_id}/logs GetPreheatLog project:preheat-policy:read
GET /projects/{project_name}/preheat/providers ListProvidersUnderProject project:preheat-policy:list
# immutable
GET /projects/{project_name_or_id}/immutabletagrules ListImmuRules project:immutable-tag:list
POST /projects/{project_name_or_id}/immutabletagrules CreateImmuRule project:immutable-tag:create
PUT /projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id} UpdateImmuRule project:immutable-tag:update
DELETE /projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id} DeleteImmuRule project:immutable-tag:delete
# webhook
GET /projects/{project_name_or_id}/webhook/policies ListWebhookPoliciesOfProject project:notification-policy:list
POST /projects/{project_name_or_id}/webhook/policies CreateWebhookPolicyOfProject project:notification-policy:create
GET /projects/{project_name_or_id}/webhook/policies/{webhook_policy_id} GetWebhookPolicyOfProject project:notification-policy:read
PUT /projects/{project_name_or_id}/webhook/policies/{webhook_policy_id} UpdateWebhookPolicyOfProject project:notification-policy:update
DELETE /projects/{project_name_or_id}/webhook/policies/{webhook_policy_id} DeleteWebhookPolicyOfProject project:notification-policy:delete
GET /projects/{project_name_or_id}/webhook/policies/{webhook_policy_id}/executions ListExecutionsOfWebhookPolicy project:notification-policy:read
GET /projects/{project_name_or_id}/webhook/policies/{webhook_policy_id}/executions/{execution_id}/tasks ListTasksOfWebhookExecution project:notification-policy:read
GET /projects/{project_name_or_id}/webhook/policies/{webhook_policy_id}/executions/{execution_id}/tasks/{task_id}/log GetLogsOfWebhookTask project:notification-policy:read
GET /projects/{project_name_or_id}/webhook/lasttrigger LastTrigger project:notification-policy:read
GET /projects/{project_name_or_id}/webhook/events GetSupportedEventTypes project:notification-policy:read
# webhookjob
GET /projects/{project_name_or_id}/webhook/jobs ListWebhookJobs project:notification-policy:list
# usergroup
GET /usergroups listUserGroups system:user-group:list
POST /usergroups createUserGroup system:user-group:create
GET /usergroups/search searchUserGroups signed-in
GET /usergroups/{group_id} getUserGroup system:user-group:read
PUT /usergroups/{group_id} updateUserGroup system:user-group:update
DELETE /usergroups/{group_id} deleteUserGroup system:user-group:delete
# icon
GET /icons/{digest} getIcon open
# robot
GET /robots ListRobot own
POST /robots CreateRobot own
GET /robots/{robot_id} GetRobotByID own
PUT /robots/{robot_id} UpdateRobot own
PATCH /robots/{robot_id} RefreshSec own
DELETE /robots/{robot_id} DeleteRobot own
# quota
GET /quotas listQuotas system:quota:list
GET /quotas/{id} getQuota system:quota:read
PUT /quotas/{id} updateQuota system:quota:update
# replication
GET /replication/policies listReplicationPolicies system:replication-policy:list
POST /replication/policies createReplicationPolicy system:replication-policy:create
GET /replication/policies/{id} getReplicationPolicy system:replication-policy:read
DELETE /replication/policies/{id} deleteReplicationPolicy system:replication-policy:delete
PUT /replication/policies/{id} updateReplicationPolicy system:replication-policy:update
GET /replication/executions listReplicationExecutions system:replication:list
POST /replication/executions startReplication system:replication:create
GET /replication/executions/{id} getReplicationExecution system:replication:read
PUT /replication/executions/{id} stopReplication system:replication:create
GET /replication/executions/{id}/tasks listReplicationTasks system:replication:list
GET /replication/executions/{id}/tasks/{task_id}/log getReplicationLog system:replication:read
# registry
GET /replication/adapters listRegistryProviderTypes system:replication-adapter:list
GET /replication/adapterinfos listRegistryProviderInfos system:replication-adapter:list
POST /registries createRegistry system:registry:create
GET /registries listRegistries system:registry:list
POST /registries/ping pingRegistry system:registry:read
GET /registries/{id} getRegistry system:registry:read
DELETE /registries/{id} deleteRegistry system:registry:delete
PUT /registries/{id} updateRegistry system:registry:update
GET /registries/{id}/info getRegistryInfo system:registry:read
# scanAll
GET /scans/all/metrics getLatestScanAllMetrics system:scan-all:read
GET /scans/schedule/metrics getLatestScheduledScanAllMetrics system:scan-all:read
GET /system/scanAll/schedule getScanAllSchedule system:scan-all:read
PUT /system/scanAll/schedule updateScanAllSchedule system:scan-all:update
POST /system/scanAll/schedule createScanAllSchedule system:scan-all:create
POST /system/scanAll/stop stopScanAll system:scan-all:stop
# systeminfo
GET /systeminfo getSystemInfo open
GET /systeminfo/volumes getVolumes system:system-volumes:read
GET /systeminfo/getcert getCert open
# oidc
POST /system/oidc/ping pingOIDC system:configuration:update
# gc
GET /system/gc getGCHistory system:garbage-collection:list
GET /system/gc/{gc_id} getGC system:garbage-collection:read
PUT /system/gc/{gc_id} stopGC system:garbage-collection:stop
GET /system/gc/{gc_id}/log getGCLog system:garbage-collection:read
GET /system/gc/schedule getGCSchedule system:garbage-collection:read
POST /system/gc/schedule createGCSchedule system:garbage-collection:create
PUT /system/gc/schedule updateGCSchedule system:garbage-collection:update
# purge
GET /system/purgeaudit getPurgeHistory system:purge-audit:list
GET /system/purgeaudit/{purge_id} getPurgeJob system:purge-audit:read
PUT /system/purgeaudit/{purge_id} stopPurge system:purge-audit:stop
GET /system/purgeaudit/{purge_id}/log getPurgeJobLog system:purge-audit:read
GET /system/purgeaudit/schedule getPurgeSchedule system:purge-audit:read
POST /system/purgeaudit/schedule createPurgeSchedule system:purge-audit:create
PUT /system/purgeaudit/schedule updatePurgeSchedule system:purge-audit:update
# SystemCVEAllowlist
GET /system/CVEAllowlist getSystemCVEAllowlist signed-in
PUT /system/CVEAllowlist putSystemCVEAllowlist system:configuration:update
# jobservice
GET /jobservice/pools getWorkerPools system:jobservice-monitor:list
GET /jobservice/pools/{pool_id}/workers getWorkers system:jobservice-monitor:list
PUT /jobservice/jobs/{job_id} stopRunningJob system:jobservice-monitor:stop
GET /jobservice/jobs/{job_id}/log actionGetJobLog system:jobservice-monitor:list
GET /jobservice/queues listJobQueues system:jobservice-monitor:list
PUT /jobservice/queues/{job_type} actionPendingJobs system:jobservice-monitor:stop
# schedule
GET /schedules listSchedules system:jobservice-monitor:list
GET /schedules/{job_type}/paused getSchedulePaused signed-in
# ping
GET /ping getPing open
# Retention
GET /retentions/metadatas getRentenitionMetadata open
POST /retentions createRetention own
GET /retentions/{id} getRetention own
PUT /retentions/{id} updateRetention own
DELETE /retentions/{id} deleteRetention own
POST /retentions/{id}/executions triggerRetentionExecution own
GET /retentions/{id}/executions listRetentionExecutions own
PATCH /retentions/{id}/executions/{eid} operateRetentionExecution own
GET /retentions/{id}/executions/{eid}/tasks listRetentionTasks own
GET /retentions/{id}/executions/{eid}/tasks/{tid} getRetentionTaskLog own
# scanner
GET /scanners listScanners system:scanner:list
POST /scanners createScanner system:scanner:create
POST /scanners/ping pingScanner system:scanner:read
GET /scanners/{registration_id} getScanner system:scanner:read
PUT /scanners/{registration_id} updateScanner system:scanner:update
DELETE /scanners/{registration_id} deleteScanner system:scanner:delete
PATCH /scanners/{registration_id} setScannerAsDefault system:scanner:update
GET /scanners/{registration_id}/metadata getScannerMetadata system:scanner:read
# user
GET /users listUsers system:user:list
POST /users createUser asked
GET /users/current getCurrentUserInfo signed-in
GET /users/search searchUsers signed-in
GET /users/{user_id} getUser own
PUT /users/{user_id} updateUserProfile own
DELETE /users/{user_id} deleteUser own
PUT /users/{user_id}/sysadmin setUserSysAdmin system:user:update
PUT /users/{user_id}/password updateUserPassword own
GET /users/current/permissions getCurrentUserPermissions signed-in
PUT /users/{user_id}/cli_secret setCliSecret own
# label
GET /labels ListLabels asked
POST /labels CreateLabel own
GET /labels/{label_id} GetLabelByID asked
PUT /labels/{label_id} UpdateLabel own
DELETE /labels/{label_id} DeleteLabel own
# scan data export
POST /export/cve exportScanData own
GET /export/cve/execution/{execution_id} getScanDataExportExecution own
GET /export/cve/executions getScanDataExportExecutionList signed-in
GET /export/cve/download/{execution_id} downloadScanData own
# securityhub
GET /security/summary getSecuritySummary system:security-hub:read
GET /security/vul ListVulnerabilities system:security-hub:list
# permissions
GET /permissions getPermissions own
"""

# What Harbor lacks, in its style: none of its own operations changes for these.
_ADDED = """
# role
GET /roles listRoles own
POST /roles createRole own
GET /roles/{role_id} getRole own
PUT /roles/{role_id} updateRole own
DELETE /roles/{role_id} deleteRole own
# robot
GET /robots/{robot_id}/trusts listRobotTrusts own
POST /robots/{robot_id}/trusts createRobotTrust own
GET /robots/{robot_id}/trusts/{trust_id} getRobotTrust own
PUT /robots/{robot_id}/trusts/{trust_id} updateRobotTrust own
DELETE /robots/{robot_id}/trusts/{trust_id} deleteRobotTrust own
# repository grant
GET /projects/{project_name_or_id}/grants listRepositoryGrants project:member:list
POST /projects/{project_name_or_id}/grants createRepositoryGrant project:member:create
GET /projects/{project_name_or_id}/grants/{grant_id} getRepositoryGrant project:member:read
PUT /projects/{project_name_or_id}/grants/{grant_id} updateRepositoryGrant project:member:update
DELETE /projects/{project_name_or_id}/grants/{grant_id} deleteRepositoryGrant project:member:delete
# names
POST /projects/{project_name_or_id}/rename renameProject project:project:update
POST /projects/{project_name}/repositories/{repository_name}/move moveRepository project:repository:delete
GET /projects/{project_name_or_id}/old-names listOldNames project:project:read
DELETE /projects/{project_name_or_id}/old-names/{old_name} freeOldName project:project:update
"""


def _read(table: str, *, added: bool = False) -> tuple[Operation, ...]:
    lines = (line.split() for line in table.strip().splitlines() if not line.startswith("#"))
    return tuple(replace(_operation(*line), added=added) for line in lines)


def _operation(method: str, path: str, name: str, needs: str) -> Operation:
    kind, _, permission = needs.partition(":")
    resource, _, action = permission.partition(":")
    wanted = Permission(resource, action) if permission else None
    return Operation(method, path, name, Needs(kind), wanted)


CUT: Final = frozenset({"listRepositories", "listArtifactsOfProject"})
"""Lists of a project that who has the permission for some repositories alone may ask for: these are all that they show."""

OPERATIONS: Final = _read(_TABLE) + _read(_ADDED, added=True)
