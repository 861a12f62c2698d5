"""The one error that the page's use cases know."""

from sluice_frontend.models import Problem


class GatewayError(Exception):
    """The gateway refused, or could not be reached; `problem` says why and may be shown."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem

    @property
    def signed_out(self) -> bool:
        return self.problem.status == 401
