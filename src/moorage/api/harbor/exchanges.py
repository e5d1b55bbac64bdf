"""What each operation of Harbor's API takes and gives, beside what stands in its path: one line each.

    ID parameter parameter!:TYPE @Header:TYPE body=MODEL -> STATUS ANSWER

Types and models are those of `shapes.py`; ``!`` must be there, ``paged`` stands for ``page`` and ``page_size``. An answer is
200 and has no body unless something else is said, and is JSON unless it is named by its media type. ``# TAG`` begins a group.
An operation of ours stands here as well, in a group of its own noun.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from moorage.api.harbor.shapes import lines

_TABLE = """
# health
getHealth -> OverallHealthStatus
# search
search q! -> Search
# statistic
getStatistic -> Statistic
# Ldap
pingLdap ldapconf=LdapConf -> LdapPingResult
searchLdapUser username -> [LdapUser]
importLdapUser uid_list!=LdapImportUsers
searchLdapGroup groupname groupdn -> [UserGroup]
# configure
getInternalconfig -> InternalConfigurationsResponse
getConfigurations -> ConfigurationsResponse
updateConfigurations configurations!=Configurations
# project
listProjects q paged sort name public:bool owner with_detail:bool -> [Project]
headProject project_name!
createProject @X-Resource-Name-In-Location:bool project!=ProjectReq -> 201
getProject -> Project
updateProject project!=ProjectReq
deleteProject
getProjectDeletable -> ProjectDeletable
getProjectSummary -> ProjectSummary
listArtifactsOfProject q sort paged @X-Accept-Vulnerabilities with_tag:bool with_label:bool with_scan_overview:bool
    with_sbom_overview:bool with_immutable_status:bool with_accessory:bool latest_in_repository:bool -> [Artifact]
getScannerOfProject -> ScannerRegistration
setScannerOfProject payload!=ProjectScanner
listScannerCandidatesOfProject q sort paged -> [ScannerRegistration]
getLogs q sort paged -> [AuditLog]
getLogExts q sort paged -> [AuditLogExt]
# member
listProjectMembers paged entityname -> [ProjectMemberEntity]
createProjectMember project_member=ProjectMember -> 201
getProjectMember -> ProjectMemberEntity
updateProjectMember role=RoleRequest
deleteProjectMember
# projectMetadata
listProjectMetadatas -> {string}
addProjectMetadatas metadata={string}
getProjectMetadata -> {string}
updateProjectMetadata metadata={string}
deleteProjectMetadata
# repository
listAllRepositories q sort paged -> [Repository]
listRepositories q sort paged -> [Repository]
getRepository -> Repository
updateRepository repository!=Repository
deleteRepository
# names
renameProject name!=NewProjectName
moveRepository place!=NewPlace
listOldNames q sort paged -> [OldName]
freeOldName
# artifact
listArtifacts q sort paged @X-Accept-Vulnerabilities with_tag:bool with_label:bool with_scan_overview:bool
    with_sbom_overview:bool with_immutable_status:bool with_accessory:bool -> [Artifact]
CopyArtifact from! -> 201
getArtifact paged @X-Accept-Vulnerabilities with_tag:bool with_label:bool with_scan_overview:bool with_sbom_overview:bool
    with_accessory:bool with_signature:bool with_immutable_status:bool -> Artifact
deleteArtifact
createTag tag!=NewTag -> 201
listTags q sort paged with_immutable_status:bool -> [Tag]
deleteTag
listAccessories q sort paged -> [Accessory]
getVulnerabilitiesAddition @X-Accept-Vulnerabilities -> string
getAddition -> string
addLabel label!=Label
removeLabel
# scan
scanArtifact scanType=ScanType -> 202
stopScanArtifact scanType!=ScanType -> 202
getReportLog -> text/plain
# auditlog
listAuditLogs q sort paged -> [AuditLog]
listAuditLogExts q sort paged -> [AuditLogExt]
listAuditLogEventTypes -> [AuditLogEventType]
# preheat
ListProviders -> [Metadata]
PingInstances instance!=Instance
ListInstances paged q sort -> [Instance]
CreateInstance instance!=Instance -> 201
GetInstance -> Instance
DeleteInstance
UpdateInstance instance!=Instance
CreatePolicy policy!=PreheatPolicy -> 201
ListPolicies paged q sort -> [PreheatPolicy]
GetPolicy -> PreheatPolicy
UpdatePolicy policy!=PreheatPolicy
ManualPreheat policy!=PreheatPolicy -> 201
DeletePolicy
ListExecutions paged q sort -> [Execution]
GetExecution -> Execution
StopExecution execution!=Execution
ListTasks paged q sort -> [Task]
GetPreheatLog -> text/plain
ListProvidersUnderProject -> [ProviderUnderProject]
# immutable
ListImmuRules paged q sort -> [ImmutableRule]
CreateImmuRule ImmutableRule!=ImmutableRule -> 201
UpdateImmuRule ImmutableRule!=ImmutableRule
DeleteImmuRule
# webhook
ListWebhookPoliciesOfProject sort q paged -> [WebhookPolicy]
CreateWebhookPolicyOfProject policy!=WebhookPolicy -> 201
GetWebhookPolicyOfProject -> WebhookPolicy
UpdateWebhookPolicyOfProject policy!=WebhookPolicy
DeleteWebhookPolicyOfProject
ListExecutionsOfWebhookPolicy paged q sort -> [Execution]
ListTasksOfWebhookExecution paged q sort -> [Task]
GetLogsOfWebhookTask -> text/plain
LastTrigger -> [WebhookLastTrigger]
GetSupportedEventTypes -> SupportedWebhookEventTypes
# webhookjob
ListWebhookJobs q sort paged policy_id!:int64 status:[string] -> [WebhookJob]
# usergroup
listUserGroups paged ldap_group_dn group_name -> [UserGroup]
createUserGroup usergroup=UserGroup -> 201
searchUserGroups paged groupname! -> [UserGroupSearchItem]
getUserGroup -> UserGroup
updateUserGroup usergroup=UserGroup
deleteUserGroup
# icon
getIcon -> Icon
# robot
ListRobot q sort paged -> [Robot]
CreateRobot robot!=RobotCreate -> 201 RobotCreated
GetRobotByID -> Robot
UpdateRobot robot!=Robot
RefreshSec robotSec!=RobotSec -> RobotSec
DeleteRobot
listRobotTrusts q sort paged -> [RobotTrust]
createRobotTrust trust!=NewRobotTrust -> 201 RobotTrust
getRobotTrust -> RobotTrust
updateRobotTrust trust!=NewRobotTrust
deleteRobotTrust
# role
listRoles q paged project_id:int64 -> [Role]
createRole role!=RoleReq -> 201
getRole -> Role
updateRole role!=RoleReq
deleteRole
# repository-grant
listRepositoryGrants q sort paged -> [RepositoryGrant]
createRepositoryGrant grant!=RepositoryGrantReq -> 201
getRepositoryGrant -> RepositoryGrant
updateRepositoryGrant grant!=RepositoryGrantReq
deleteRepositoryGrant
# quota
listQuotas paged reference reference_id sort -> [Quota]
getQuota -> Quota
updateQuota hard!=QuotaUpdateReq
# replication
listReplicationPolicies q sort paged name -> [ReplicationPolicy]
createReplicationPolicy policy!=ReplicationPolicy -> 201
getReplicationPolicy -> ReplicationPolicy
deleteReplicationPolicy
updateReplicationPolicy policy!=ReplicationPolicy
listReplicationExecutions sort paged policy_id:int status trigger -> [ReplicationExecution]
startReplication execution!=StartReplicationExecution -> 201
getReplicationExecution -> ReplicationExecution
stopReplication
listReplicationTasks sort paged status resource_type -> [ReplicationTask]
getReplicationLog -> text/plain
# registry
listRegistryProviderTypes -> [string]
listRegistryProviderInfos -> {RegistryProviderInfo}
createRegistry registry!=Registry -> 201
listRegistries q sort paged name -> [Registry]
pingRegistry registry!=RegistryPing
getRegistry -> Registry
deleteRegistry
updateRegistry registry!=RegistryUpdate
getRegistryInfo -> RegistryInfo
# scanAll
getLatestScanAllMetrics -> Stats
getLatestScheduledScanAllMetrics -> Stats
getScanAllSchedule -> Schedule
updateScanAllSchedule schedule!=Schedule
createScanAllSchedule schedule!=Schedule -> 201
stopScanAll -> 202
# systeminfo
getSystemInfo -> GeneralInfo
getVolumes -> SystemInfo
getCert -> application/octet-stream
# oidc
pingOIDC endpoint!=OIDCPing
# gc
getGCHistory q sort paged -> [GCHistory]
getGC -> GCHistory
stopGC
getGCLog -> text/plain
getGCSchedule -> GCHistory
createGCSchedule schedule!=Schedule -> 201
updateGCSchedule schedule!=Schedule
# purge
getPurgeHistory q sort paged -> [ExecHistory]
getPurgeJob -> ExecHistory
stopPurge
getPurgeJobLog -> text/plain
getPurgeSchedule -> ExecHistory
createPurgeSchedule schedule!=Schedule -> 201
updatePurgeSchedule schedule!=Schedule
# SystemCVEAllowlist
getSystemCVEAllowlist -> CVEAllowlist
putSystemCVEAllowlist allowlist=CVEAllowlist
# jobservice
getWorkerPools -> [WorkerPool]
getWorkers -> [Worker]
stopRunningJob
actionGetJobLog -> text/plain
listJobQueues -> [JobQueue]
actionPendingJobs action_request!=ActionRequest
# schedule
listSchedules paged -> [ScheduleTask]
getSchedulePaused -> SchedulerStatus
# ping
getPing -> text/plain
# Retention
getRentenitionMetadata -> RetentionMetadata
createRetention policy!=RetentionPolicy -> 201
getRetention -> RetentionPolicy
updateRetention policy!=RetentionPolicy
deleteRetention
triggerRetentionExecution body!=RetentionRun -> 201 text/plain
listRetentionExecutions paged -> [RetentionExecution]
operateRetentionExecution body!=RetentionAction
listRetentionTasks paged -> [RetentionExecutionTask]
getRetentionTaskLog -> text/plain
# scanner
listScanners q sort paged -> [ScannerRegistration]
createScanner registration!=ScannerRegistrationReq -> 201
pingScanner settings!=ScannerRegistrationSettings
getScanner -> ScannerRegistration
updateScanner registration!=ScannerRegistrationReq
deleteScanner -> ScannerRegistration
setScannerAsDefault payload!=IsDefault
getScannerMetadata -> ScannerAdapterMetadata
# user
listUsers q sort paged -> [UserResp]
createUser userReq!=UserCreationReq -> 201
getCurrentUserInfo -> UserResp
searchUsers paged username! -> [UserSearchRespItem]
getUser -> UserResp
updateUserProfile profile!=UserProfile
deleteUser
setUserSysAdmin sysadmin_flag!=UserSysAdminFlag
updateUserPassword password!=PasswordReq
getCurrentUserPermissions scope relative:bool -> [Permission]
setCliSecret secret!=OIDCCliSecretReq
# label
ListLabels q sort paged name scope project_id:int64 -> [Label]
CreateLabel label!=Label -> 201
GetLabelByID -> Label
UpdateLabel label!=Label
DeleteLabel
# scan data export
exportScanData @X-Scan-Data-Type! criteria!=ScanDataExportRequest -> ScanDataExportJob
getScanDataExportExecution -> ScanDataExportExecution
getScanDataExportExecutionList -> ScanDataExportExecutionList
downloadScanData format -> text/csv
# securityhub
getSecuritySummary with_dangerous_cve:bool with_dangerous_artifact:bool -> SecuritySummary
ListVulnerabilities q paged tune_count:bool with_tag:bool -> [VulnerabilityItem]
# permissions
getPermissions -> Permissions
"""


@dataclass(frozen=True, slots=True)
class Value:
    """Something that is taken: a parameter, a header or the body."""

    name: str
    type: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """What an operation takes and gives."""

    tag: str
    query: list[Value] = field(default_factory=list)
    headers: list[Value] = field(default_factory=list)
    body: Value | None = None
    status: int = 200
    answer: str = ""


_NUMBERS: Final = frozenset({"id", "mid", "eid", "tid"})
_WORDS: Final = frozenset({"registration_id", "pool_id", "job_id", "report_id", "project_name_or_id"})


def is_number(name: str) -> bool:
    """Say whether what stands in a path under a name is a number."""
    return name in _NUMBERS or (name.endswith("_id") and name not in _WORDS)


def _read(table: str) -> dict[str, Exchange]:
    tag, made = "", {}
    for line in lines(table):
        if line.startswith("# "):
            tag = line[2:]
            continue
        taken, _, given = line.partition(" -> ")
        name, *words = taken.split()
        made[name] = _exchange(tag, words, given.split())
    return made


def _exchange(tag: str, words: list[str], given: list[str]) -> Exchange:
    query, headers, body = [], [], None
    for word in words:
        named, is_body, model = word.partition("=")
        if is_body:
            body = _value(f"{named}:{model}")
        elif word == "paged":
            query += [Value("page", "int64"), Value("page_size", "int64")]
        elif word.startswith("@"):
            headers.append(_value(word[1:]))
        else:
            query.append(_value(word))
    status = int(given.pop(0)) if given and given[0].isdigit() else 200
    return Exchange(tag, query, headers, body, status, given[0] if given else "")


def _value(word: str) -> Value:
    named, _, kind = word.partition(":")
    return Value(named.rstrip("!"), kind, required=named.endswith("!"))


EXCHANGES: Final = _read(_TABLE)
