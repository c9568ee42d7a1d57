"""What the server counts, for Prometheus: no user, no text, and few labels."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from .worker import Finished, Worker

#: Seconds; from one token of a small model to the time limit.
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The counters of one server. They begin at zero with it; what lasts is in the telemetry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "rollout_requests", "Requests, by HTTP status.", ["status"], registry=self.registry
        )
        self.answers = Counter(
            "rollout_answers",
            "Answers given, by version, arm and how they ended.",
            ["version", "arm", "finish"],
            registry=self.registry,
        )
        self.tokens = Counter(
            "rollout_answer_tokens", "Tokens written.", ["version"], registry=self.registry
        )
        self.seconds = Histogram(
            "rollout_answer_seconds",
            "From a request's arrival to the end of its answer.",
            ["version"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.feedback = Counter(
            "rollout_feedback",
            "First words of feedback, by harm and by who had answered.",
            ["version", "arm", "harm"],
            registry=self.registry,
        )
        self.unrecorded = Counter(
            "rollout_unrecorded",
            "Answers that could not be stored, and were not given.",
            registry=self.registry,
        )
        self.waiting = Gauge("rollout_waiting", "Requests in the queue.", registry=self.registry)
        self.writing = Gauge("rollout_writing", "Answers being written.", registry=self.registry)
        self.share = Gauge(
            "rollout_candidate_share",
            "Share of the users who get the candidate.",
            registry=self.registry,
        )

    def answered(self, end: Finished) -> None:
        """Count an answer."""
        version = end.placement.version
        self.answers.labels(version, end.placement.arm, end.finish).inc()
        self.tokens.labels(version).inc(end.written)
        self.seconds.labels(version).observe(end.latency)
        for harm in ("yes", "no"):  # a series that began at 1 would hide its first harm from rate()
            self.feedback.labels(version, end.placement.arm, harm)

    def page(self, worker: Worker, share: float) -> bytes:
        """The text that Prometheus reads."""
        self.waiting.set(worker.depth)
        self.writing.set(worker.busy)
        self.share.set(share)
        return generate_latest(self.registry)
