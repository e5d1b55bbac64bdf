"""What bodies and answers of Harbor's API are made of: one line a model, from which the API's description is written.

    NAME = field field:TYPE field!:TYPE +field:TYPE?

A field without a type is text; ``!`` must be there, ``+`` is ours and not Harbor's, and what ends with ``?`` may be null.
Types are ``bool``, ``int``, ``int32``, ``int64``, ``float``, ``time``, ``any``, ``a|b`` (one of those words), ``string<=255``
(so many characters at most), ``[TYPE]``, ``{TYPE}`` (by any name) and the names of models. ``NAME = : TYPE`` is a model that
has no fields of its own. A line goes on where the next begins with spaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_TABLE = """
Errors = errors:[Error]
Error = code message
Search = project:[Project] repository:[SearchRepository]
SearchRepository = project_id:int project_name project_public:bool repository_name pull_count:int artifact_count:int
Repository = id:int64 project_id:int64 name description artifact_count:int64 pull_count:int64 creation_time:time
    update_time:time
Artifact = id:int64 type media_type manifest_media_type artifact_type project_id:int64 repository_id:int64 repository_name
    digest size:int64 icon push_time:time pull_time:time extra_attrs:ExtraAttrs annotations:Annotations?
    references:[Reference]? tags:[Tag]? addition_links:AdditionLinks labels:[Label]? scan_overview:ScanOverview
    sbom_overview:SBOMOverview accessories:[Accessory]?
Tag = id:int64 repository_id:int64 artifact_id:int64 name push_time:time pull_time:time immutable:bool
NewTag = name!
ExtraAttrs = : {any}
Annotations = : {string}
AdditionLinks = : {AdditionLink}
AdditionLink = href absolute:bool
Reference = parent_id:int64 child_id:int64 child_digest platform:Platform? annotations:Annotations? urls:[string]?
Platform = architecture os os.version os.features:[string] variant
Label = id:int64 name description color scope project_id:int64 creation_time:time update_time:time
Scanner = name vendor version
ScanOverview = : {NativeReportSummary}
SBOMOverview = start_time:time end_time:time scan_status sbom_digest report_id duration:int64 scanner:Scanner
NativeReportSummary = report_id scan_status severity duration:int64 summary:VulnerabilitySummary start_time:time
    end_time:time complete_percent:int scanner:Scanner
VulnerabilitySummary = total:int fixable:int summary:{int}
AuditLog = id:int username resource resource_type operation op_time:time
AuditLogExt = id:int username resource resource_type operation operation_description operation_result:bool op_time:time
AuditLogEventType = event_type
Metadata = id name icon maintainers:[string] version source
Instance = id:int name description vendor endpoint auth_mode auth_info:{string} status enabled:bool default:bool
    insecure:bool setup_timestamp:int64
PreheatPolicy = id:int name description project_id:int provider_id:int provider_name filters trigger enabled:bool
    extra_attrs creation_time:time update_time:time
Metrics = task_count:int success_task_count:int error_task_count:int pending_task_count:int running_task_count:int
    scheduled_task_count:int stopped_task_count:int
Execution = id:int vendor_type vendor_id:int status status_message metrics:Metrics trigger extra_attrs:ExtraAttrs start_time
    end_time
Task = id:int execution_id:int status status_message run_count:int32 extra_attrs:ExtraAttrs creation_time update_time
    start_time end_time
ProviderUnderProject = id:int provider enabled:bool default:bool
Icon = content-type content
ProjectReq = project_name:string<=255 public:bool metadata:ProjectMetadata cve_allowlist:CVEAllowlist storage_limit:int64
    registry_id:int64
NewProjectName = name!:string<=255
NewPlace = name:string<=255 project:string<=255
OldName = name kind:project|repository current until:time
Project = project_id:int32 owner_id:int32 name registry_id:int64 creation_time:time update_time:time deleted:bool owner_name
    togglable:bool current_user_role_id:int current_user_role_ids:[int32] repo_count:int metadata:ProjectMetadata
    cve_allowlist:CVEAllowlist
ProjectDeletable = deletable:bool message
ProjectMetadata = public enable_content_trust enable_content_trust_cosign prevent_vul severity auto_scan
    auto_sbom_generation reuse_sys_cve_allowlist retention_id proxy_speed_kb max_upstream_conn
    proxy_cache_local_on_not_found
ProjectSummary = repo_count:int project_admin_count:int maintainer_count:int developer_count:int guest_count:int
    limited_guest_count:int quota:ProjectSummaryQuota registry:Registry
ProjectSummaryQuota = hard:ResourceList used:ResourceList
ProjectScanner = uuid!
CVEAllowlist = id:int? project_id:int? expires_at:int? items:[CVEAllowlistItem]? creation_time:time update_time:time
CVEAllowlistItem = cve_id
ReplicationPolicy = id:int64 name description src_registry:Registry dest_registry:Registry dest_namespace
    dest_namespace_replace_count:int trigger:ReplicationTrigger filters:[ReplicationFilter] replicate_deletion:bool
    deletion:bool override:bool enabled:bool creation_time:time update_time:time speed:int32 copy_by_chunk:bool
    single_active_replication:bool
ReplicationTrigger = type trigger_settings:ReplicationTriggerSettings
ReplicationTriggerSettings = cron
ReplicationFilter = type value:any decoration
RegistryCredential = type access_key access_secret
Registry = id:int64 url name credential:RegistryCredential type insecure:bool ca_certificate description status
    creation_time:time update_time:time
RegistryUpdate = name description url credential_type access_key access_secret insecure:bool ca_certificate
RegistryPing = id:int64 type url credential_type access_key access_secret insecure:bool ca_certificate
RegistryInfo = type description supported_resource_filters:[FilterStyle] supported_triggers:[string]
    supported_copy_by_chunk:bool
RegistryProviderInfo = endpoint_pattern:RegistryProviderEndpointPattern credential_pattern:RegistryProviderCredentialPattern
RegistryProviderEndpointPattern = endpoint_type endpoints:[RegistryEndpoint]
RegistryProviderCredentialPattern = access_key_type access_key_data access_secret_type access_secret_data
RegistryEndpoint = key value
FilterStyle = type style values:[string]
ResourceList = : {int64}
ReplicationExecution = id:int policy_id:int status trigger start_time:time end_time:time status_text total:int failed:int
    succeed:int in_progress:int stopped:int
StartReplicationExecution = policy_id:int64
ReplicationTask = id:int execution_id:int status job_id operation resource_type src_resource dst_resource start_time:time
    end_time:time
Robot = id:int64 name description secret level duration:int64 editable:bool disable:bool expires_at:int64
    permissions:[RobotPermission] +repositories:[InRepositories] creator_type
    creator_ref:int creation_time:time update_time:time +last_used_time:time
    +old_secret_until:time
RobotCreate = name description secret level disable:bool duration:int64 permissions:[RobotPermission]
    +repositories:[InRepositories]
InRepositories = namespace repository! access!:[Access]
RobotCreated = id:int64 name secret creation_time:time expires_at:int64
RobotSec = secret +overlap:int
RobotPermission = kind namespace access:[Access]
RobotTrust = id:int64 description issuer audience claims:{any} jwks:{any} creation_time:time update_time:time
NewRobotTrust = issuer! claims!:{any} audience jwks:{any} description
Access = resource action effect
RobotCreateV1 = name description expires_at:int access:[Access]
Storage = total:int free:int
GeneralInfo = banner_message current_time:time registry_url external_url auth_mode primary_auth_mode:bool
    project_creation_restriction self_registration:bool has_ca_root:bool harbor_version registry_storage_provider_name
    read_only:bool notification_enable:bool authproxy_settings:AuthproxySetting oidc_provider_name
AuthproxySetting = endpoint tokenreivew_endpoint skip_search:bool verify_cert:bool server_certificate
SystemInfo = storage:[Storage]
GCHistory = id:int job_name job_kind job_parameters schedule:ScheduleObj job_status deleted:bool creation_time:time
    update_time:time
ExecHistory = id:int job_name job_kind job_parameters schedule:ScheduleObj job_status deleted:bool creation_time:time
    update_time:time
Schedule = id:int status creation_time:time update_time:time schedule:ScheduleObj parameters:{any}
ScheduleObj = type:Hourly|Daily|Weekly|Custom|Manual|None|Schedule cron next_scheduled_time:time
Stats = total:int completed:int metrics:{int} ongoing:bool trigger:Manual|Schedule|Event
RetentionMetadata = templates:[RetentionRuleMetadata] scope_selectors:[RetentionSelectorMetadata]
    tag_selectors:[RetentionSelectorMetadata]
RetentionRuleMetadata = rule_template display_text action params:[RetentionRuleParamMetadata]
RetentionRuleParamMetadata = type unit required:bool
RetentionSelectorMetadata = display_text kind decorations:[string]
RetentionPolicy = id:int64 algorithm rules:[RetentionRule] trigger:RetentionRuleTrigger scope:RetentionPolicyScope
RetentionRuleTrigger = kind settings:{any} references:{any}
RetentionPolicyScope = level ref:int
RetentionRule = id:int priority:int disabled:bool action template params:{any} tag_selectors:[RetentionSelector]
    scope_selectors:{[RetentionSelector]}
RetentionSelector = kind decoration pattern extras
RetentionExecution = id:int64 policy_id:int64 start_time end_time status trigger dry_run:bool
RetentionExecutionTask = id:int64 execution_id:int64 repository job_id status status_code:int status_revision:int64
    start_time end_time total:int retained:int
QuotaUpdateReq = hard:ResourceList
QuotaRefObject = : {any}
Quota = id:int ref:QuotaRefObject hard:ResourceList used:ResourceList creation_time:time update_time:time
ScannerRegistration = uuid name description url disabled:bool is_default:bool auth access_credential skip_certVerify:bool
    use_internal_addr:bool create_time:time update_time:time adapter vendor version health capabilities:{any}
ScannerRegistrationReq = name! description url! auth access_credential skip_certVerify:bool use_internal_addr:bool
    disabled:bool
ScannerRegistrationSettings = name! url! auth access_credential
IsDefault = is_default:bool
ScannerCapability = type consumes_mime_types:[string] produces_mime_types:[string]
ScannerAdapterMetadata = scanner:Scanner capabilities:[ScannerCapability] properties:{string}
ImmutableRule = id:int priority:int disabled:bool action template params:{any} tag_selectors:[ImmutableSelector]
    scope_selectors:{[ImmutableSelector]}
ImmutableSelector = kind decoration pattern extras
LdapConf = ldap_url ldap_search_dn ldap_search_password ldap_base_dn ldap_filter ldap_uid ldap_scope:int64
    ldap_connection_timeout:int64 ldap_verify_cert:bool
LdapPingResult = success:bool message
LdapImportUsers = ldap_uid_list:[string]
LdapFailedImportUser = uid error
LdapUser = username realname email
UserGroup = id:int group_name group_type:int ldap_group_dn
UserGroupSearchItem = id:int group_name group_type:int
SupportedWebhookEventTypes = event_type:[EventType] notify_type:[NotifyType] payload_formats:[PayloadFormat]
EventType = : string
NotifyType = : string
PayloadFormatType = : string
PayloadFormat = notify_type:NotifyType formats:[PayloadFormatType]
WebhookTargetObject = type address auth_header skip_cert_verify:bool payload_format:PayloadFormatType
WebhookPolicy = id:int64 name description project_id:int targets:[WebhookTargetObject] event_types:[string] creator
    creation_time:time update_time:time enabled:bool
WebhookLastTrigger = policy_name event_type enabled:bool creation_time:time last_trigger_time:time
WebhookJob = id:int64 policy_id:int64 event_type notify_type status job_detail creation_time:time update_time:time
InternalConfigurationsResponse = : {InternalConfigurationValue}
InternalConfigurationValue = value:{any} editable:bool
Configurations = auth_mode primary_auth_mode:bool ldap_base_dn ldap_filter ldap_group_base_dn ldap_group_admin_dn
    ldap_group_attribute_name ldap_group_search_filter ldap_group_search_scope:int ldap_group_attach_parallel:bool
    ldap_scope:int ldap_search_dn ldap_search_password ldap_timeout:int ldap_uid ldap_url ldap_verify_cert:bool
    ldap_group_membership_attribute project_creation_restriction read_only:bool self_registration:bool token_expiration:int
    uaa_client_id uaa_client_secret uaa_endpoint uaa_verify_cert:bool http_authproxy_endpoint
    http_authproxy_tokenreview_endpoint http_authproxy_admin_groups http_authproxy_admin_usernames
    http_authproxy_verify_cert:bool http_authproxy_skip_search:bool http_authproxy_server_certificate oidc_name
    oidc_endpoint oidc_client_id oidc_client_secret oidc_groups_claim oidc_admin_group oidc_group_filter oidc_scope
    oidc_user_claim oidc_verify_cert:bool oidc_auto_onboard:bool oidc_extra_redirect_parms oidc_logout:bool
    robot_token_duration:int robot_name_prefix notification_enable:bool quota_per_project_enable:bool
    storage_per_project:int audit_log_forward_endpoint skip_audit_log_database:bool session_timeout:int
    scanner_skip_update_pulltime:bool banner_message disabled_audit_log_event_types
StringConfigItem = value editable:bool
BoolConfigItem = value:bool editable:bool
IntegerConfigItem = value:int editable:bool
ProjectMemberEntity = id:int project_id:int entity_name role_name role_id:int entity_id:int entity_type
ProjectMember = role_id:int member_user:UserEntity member_group:UserGroup
Role = id:int64 name description is_builtin:bool permissions:[Access] project_id:int64 creation_time:time
    update_time:time
RoleReq = name! description permissions!:[Access] project_id:int64
RepositoryGrant = id:int64 project_id:int64 repository access:[Access] entity_name entity_id:int64 entity_type:u|g|r
    creation_time:time update_time:time
RepositoryGrantReq = repository! access!:[Access] member_user:UserEntity member_group:UserGroup robot:NamedRobot
NamedRobot = id:int64 name
RoleRequest = role_id:int
UserEntity = user_id:int username
UserProfile = email realname comment
UserCreationReq = email:string<=255 realname comment password username:string<=255
OIDCUserInfo = id:int user_id:int subiss secret creation_time:time update_time:time
UserResp = email realname comment user_id:int username sysadmin_flag:bool admin_role_in_auth:bool
    oidc_user_meta:OIDCUserInfo creation_time:time update_time:time
UserSysAdminFlag = sysadmin_flag:bool
UserSearch = user_id:int username
PasswordReq = old_password new_password
UserSearchRespItem = user_id:int username
Permission = resource action
Permissions = system:[Permission] project:[Permission]
OIDCCliSecretReq = secret
OverallHealthStatus = status components:[ComponentHealthStatus]
ComponentHealthStatus = name status error
Statistic = private_project_count:int64 private_repo_count:int64 public_project_count:int64 public_repo_count:int64
    total_project_count:int64 total_repo_count:int64 total_storage_consumption:int64
Accessory = id:int64 artifact_id:int64 subject_artifact_id:int64 subject_artifact_digest subject_artifact_repo size:int64
    digest type icon creation_time:time
ScanDataExportRequest = job_name projects:[int64] labels:[int64] repositories cveIds tags
ScanDataExportJob = id:int64
ScanDataExportExecution = id:int user_id:int status trigger start_time:time end_time:time status_text user_name
    file_present:bool
ScanDataExportExecutionList = items:[ScanDataExportExecution]
WorkerPool = pid:int worker_pool_id start_at:time heartbeat_at:time concurrency:int host
Worker = id pool_id job_name job_id start_at:time check_in checkin_at:time
ActionRequest = action:stop|pause|resume
JobQueue = job_type count:int latency:int paused:bool
ScheduleTask = id:int vendor_type vendor_id:int cron update_time:time
SchedulerStatus = paused:bool
SecuritySummary = critical_cnt:int64 high_cnt:int64 medium_cnt:int64 low_cnt:int64 none_cnt:int64 unknown_cnt:int64
    total_vuls:int64 scanned_cnt:int64 total_artifact:int64 fixable_cnt:int64 dangerous_cves:[DangerousCVE]
    dangerous_artifacts:[DangerousArtifact]
DangerousCVE = cve_id severity cvss_score_v3:float desc package version
DangerousArtifact = project_id:int64 repository_name digest critical_cnt:int high_cnt:int64 medium_cnt:int
VulnerabilityItem = project_id:int64 repository_name digest tags:[string] cve_id severity status cvss_v3_score:float package
    version fixed_version desc links:[string]
ScanType = scan_type:vulnerability|sbom
OIDCPing = url verify_cert:bool
RetentionRun = dry_run:bool
RetentionAction = action
ScanAllPolicy = type parameter:ScanAllTime
ScanAllTime = daily_time:int
"""

ADDED: Final = "x-moorage-added"
REFERENCE: Final = "#/definitions/"
_PLAIN: Final[dict[str, dict[str, Any]]] = {
    "": {"type": "string"},
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "float": {"type": "number"},
    "time": {"type": "string", "format": "date-time"},
    "any": {},
}
# What is told alone, and ignored where it is sent back.
_TOLD: Final = frozenset({"creation_time", "update_time"})
_SECRETS: Final = frozenset({"ldap_search_password", "oidc_client_secret"})
_ITEMS: Final = {"boolean": "BoolConfigItem", "integer": "IntegerConfigItem", "string": "StringConfigItem"}


def lines(table: str) -> Iterator[str]:
    """Give a table's lines, each whole."""
    whole = ""
    for line in table.strip().splitlines():
        if line.startswith(" "):
            whole += line
            continue
        if whole:
            yield whole
        whole = line
    yield whole


def schema(text: str) -> dict[str, Any]:
    """Write a type as JSON Schema has it."""
    if text.endswith("?"):
        kind = schema(text[:-1])
        return ({"allOf": [kind]} if "$ref" in kind else kind) | {"x-nullable": True}
    if text in _PLAIN:
        return dict(_PLAIN[text])
    if text.startswith("["):
        return {"type": "array", "items": schema(text[1:-1])}
    if text.startswith("{"):
        return {"type": "object", "additionalProperties": schema(text[1:-1])}
    if "|" in text:
        return {"type": "string", "enum": text.split("|")}
    kind_, _, longest = text.partition("<=")
    return _PLAIN[kind_] | {"maxLength": int(longest)} if longest else {"$ref": REFERENCE + text}


def models(table: str = _TABLE) -> dict[str, dict[str, Any]]:
    """Write every model."""
    made = {}
    for line in lines(table):
        name, _, said = line.partition(" = ")
        made[name] = schema(said[2:]) if said.startswith(": ") else _object(said.split())
    if "Configurations" in made:
        made["ConfigurationsResponse"] = _told(made["Configurations"])
    return made


def _object(fields: list[str]) -> dict[str, Any]:
    required, properties = [], {}
    for field in fields:
        named, _, kind = field.partition(":")
        name = named.strip("+!")
        properties[name] = schema(kind) | ({ADDED: True} if named.startswith("+") else {})
        if name in _TOLD:
            properties[name]["readOnly"] = True
        if named.endswith("!"):
            required.append(name)
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def _told(settable: dict[str, Any]) -> dict[str, Any]:
    """Write how a configuration is told: each value with whether it can be set here, and no secret."""
    told = {
        name: {"$ref": REFERENCE + _ITEMS[kind["type"]]}
        for name, kind in settable["properties"].items()
        if name not in _SECRETS
    }
    return {"type": "object", "properties": told | {"scan_all_policy": {"$ref": f"{REFERENCE}ScanAllPolicy"}}}
