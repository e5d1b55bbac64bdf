"""What is off in this release, or has nothing in it: answered as Harbor does where a feature is off or empty.

Collection, purging and job queues run by themselves here; retention, immutable rules, replication, scanning, preheating and
webhooks come with the second half of Harbor's API. Lists are empty, what is asked for by its number is not there, and what
would make something is refused with 412 and the reason. Who may ask is checked before, as for every operation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from moorage.api.harbor import answers as write
from moorage.api.harbor.problems import BadRequest, NotFound, Precondition

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers

NO_SCANNER: Final = "no scanner is configured, it's not possible to scan"

# Lists that are paged, and have no element.
_EMPTY = """
    ListInstances ListPolicies ListExecutions ListTasks ListImmuRules ListWebhookPoliciesOfProject ListWebhookJobs
    listReplicationPolicies listReplicationExecutions listRegistries getGCHistory getPurgeHistory listSchedules
    listScanners listScannerCandidatesOfProject ListVulnerabilities
"""
# Lists that are given whole, and have no element.
_EMPTY_WHOLE = """
    ListProviders ListProvidersUnderProject LastTrigger listRegistryProviderTypes getWorkerPools listJobQueues
"""
# What is asked for by a number or a name: nothing has it.
_ABSENT = """
    GetInstance DeleteInstance UpdateInstance GetPolicy UpdatePolicy ManualPreheat DeletePolicy GetExecution StopExecution
    GetPreheatLog UpdateImmuRule DeleteImmuRule GetWebhookPolicyOfProject UpdateWebhookPolicyOfProject
    DeleteWebhookPolicyOfProject ListExecutionsOfWebhookPolicy ListTasksOfWebhookExecution GetLogsOfWebhookTask
    getReplicationPolicy deleteReplicationPolicy updateReplicationPolicy startReplication getReplicationExecution
    stopReplication listReplicationTasks getReplicationLog getRegistry deleteRegistry updateRegistry getRegistryInfo
    getGC stopGC getGCLog getPurgeJob stopPurge getPurgeJobLog getRetention updateRetention deleteRetention
    triggerRetentionExecution listRetentionExecutions operateRetentionExecution listRetentionTasks getRetentionTaskLog
    getScanner updateScanner deleteScanner setScannerAsDefault getScannerMetadata setScannerOfProject getReportLog
    getScanDataExportExecution downloadScanData getWorkers stopRunningJob actionGetJobLog actionPendingJobs
"""
# What would make something, and why it does not.
_REFUSED = {
    "preheating is off in this release": "PingInstances CreateInstance CreatePolicy",
    "immutable tag rules are off in this release": "CreateImmuRule",
    "webhooks are off in this release": "CreateWebhookPolicyOfProject",
    "replication is off in this release": "createReplicationPolicy createRegistry pingRegistry",
    "collection needs no schedule here: it runs by itself, and loses nothing that is in use": (
        "createGCSchedule updateGCSchedule"
    ),
    "the record needs no schedule here: what is older than it is kept goes by itself": (
        "createPurgeSchedule updatePurgeSchedule"
    ),
    "tag retention is off in this release": "createRetention",
    "scanning is off in this release": "createScanner pingScanner exportScanData",
    NO_SCANNER: "scanArtifact stopScanArtifact getLatestScanAllMetrics getLatestScheduledScanAllMetrics"
    " getScanAllSchedule updateScanAllSchedule createScanAllSchedule stopScanAll",
}
ABSENT: Final = frozenset(_ABSENT.split())
REFUSED: Final = frozenset(name for names in _REFUSED.values() for name in names.split())


def answers() -> Answers:
    """Say who answers each."""
    made: dict[str, Callable[[Ask], Awaitable[Answer]]] = {}
    made |= dict.fromkeys(_EMPTY.split(), empty)
    made |= dict.fromkeys(_EMPTY_WHOLE.split(), empty_whole)
    made |= dict.fromkeys(ABSENT, absent)
    for reason, names in _REFUSED.items():
        made |= dict.fromkeys(names.split(), _refusing(reason))
    return made | {
        "getGCSchedule": nothing_as_json,
        "getPurgeSchedule": nothing_as_json,
        "getScannerOfProject": nothing_as_json,
        "listRegistryProviderInfos": nothing_as_json,
        "getRentenitionMetadata": retention_metadata,
        "GetSupportedEventTypes": event_types,
        "getSchedulePaused": paused,
        "getSecuritySummary": security_summary,
        "getScanDataExportExecutionList": exports,
    }


async def empty(ask: Ask) -> Answer:
    """Give the page of a list that has no element."""
    return write.listed(ask, [], 0)


async def empty_whole(_: Ask) -> Answer:
    """Give a list that has no element."""
    return write.given([])


async def absent(ask: Ask) -> Answer:
    """Answer that nothing has this number or name."""
    named = ", ".join(
        f"{name} {value}" for name, value in ask.params.items() if not name.startswith("project")
    )
    raise NotFound(f"{named or 'what is named in the body'} not found")


async def nothing_as_json(_: Ask) -> Answer:
    """Answer with an object that says nothing."""
    return write.given({})


async def retention_metadata(_: Ask) -> Answer:
    """Say which retention rules can be made: none."""
    return write.given({"templates": [], "scope_selectors": [], "tag_selectors": []})


async def event_types(_: Ask) -> Answer:
    """Say of which events webhooks tell: of none."""
    return write.given({"event_type": [], "notify_type": [], "payload_formats": []})


async def paused(ask: Ask) -> Answer:
    """Say whether schedules wait: they do not."""
    if ask.params["job_type"].lower() != "all":
        raise BadRequest("job_type can only be 'all'")
    return write.given({"paused": False})


async def security_summary(_: Ask) -> Answer:
    """Count what scanners found: nothing."""
    counts = "critical high medium low none unknown scanned fixable"
    summary: dict[str, object] = {f"{name}_cnt": 0 for name in counts.split()}
    return write.given(
        summary | {"total_vuls": 0, "total_artifact": 0, "dangerous_cves": [], "dangerous_artifacts": []}
    )


async def exports(_: Ask) -> Answer:
    """Give the exports of vulnerabilities: there are none."""
    return write.given({"items": []})


def _refusing(reason: str) -> Callable[[Ask], Awaitable[Answer]]:
    async def refuse(_: Ask) -> Answer:
        raise Precondition(reason)

    return refuse
