"""What the control plane refuses, each with the field or the rule, and what to do."""

from moorage.errors import Problem


class RegistryUnknown(Problem):
    """The cloud project has no such registry; another's is not there either."""

    code, status, summary = "NOT_FOUND", 404, "this cloud project has no such registry"


class CloudProjectUnknown(Problem):
    """There is no such cloud project, or the user is no member of it."""

    code, status, summary = "NOT_FOUND", 404, "there is no such cloud project"


class PlanUnknown(Problem):
    """The region has no such plan that could be ordered."""

    code, status, summary = "BAD_REQUEST", 400, "the region has no such plan"


class RegionUnknown(Problem):
    """The catalogue has no such region."""

    code, status, summary = "BAD_REQUEST", 400, "there is no such region"


class RegistryNameInvalid(Problem):
    """The name breaks a rule for registries' names."""

    code, status, summary = "BAD_REQUEST", 400, "a registry cannot be called so"


class OrdersExceeded(Problem):
    """The account has as many registries as it may."""

    code, status, summary = "FORBIDDEN", 403, "the account has as many registries as it may"


class NotReady(Problem):
    """The registry's status does not allow this now."""

    code, status, summary = "CONFLICT", 409, "the registry's status does not allow this now"


class DowngradeRefused(Problem):
    """What is stored or used does not fit into the plan; ``details`` lists it."""

    code, status, summary = "CONFLICT", 409, "what the registry holds does not fit into this plan"


class UndeleteRefused(Problem):
    """The registry is not deleted, or its grace is over."""

    code, status, summary = "CONFLICT", 409, "this registry cannot be taken back"


class ActionDenied(Problem):
    """The user's role in the cloud project does not have the action."""

    code, status, summary = "FORBIDDEN", 403, "your role in this cloud project does not allow this"
