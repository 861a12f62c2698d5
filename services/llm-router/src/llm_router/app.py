"""Puts the llm-router together."""

from collections.abc import Sequence

from starlette.applications import Starlette

from llm_router.answer import Answer
from llm_router.chain import Chain
from llm_router.follow_up import FollowUp
from llm_router.handlers import register
from llm_router.ports import Model
from llm_router.settings import LlmRouterSettings
from llm_router.tiers import ExtractiveTier, ModelTier
from sluice.broker import Broker
from sluice.service import Closer, create_worker_app


def create_chain(settings: LlmRouterSettings, models: Sequence[Model]) -> Chain:
    """The models in their order, then the extractive answerer."""
    tiers = [ModelTier(model, settings.limits, settings.llm_max_output_tokens) for model in models]
    return Chain([*tiers, ExtractiveTier()], reserve_seconds=settings.llm_reserve_seconds)


def create_app(
    settings: LlmRouterSettings,
    *,
    broker: Broker,
    models: Sequence[Model],
    follow_up_model: Model | None,
    closers: Sequence[Closer] = (),
) -> Starlette:
    answer = Answer(create_chain(settings, models))
    follow_up = FollowUp(follow_up_model, settings.follow_up_seconds)
    register(broker, answer, follow_up, lane=settings.lane, concurrency=settings.llm_concurrency)
    return create_worker_app(broker, closers=closers)
