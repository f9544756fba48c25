"""Executors: every job has one outcome, in the process chosen, and a death costs one run."""

import pytest

from cerviclip.runs.jobs import executors, local_pool
from cerviclip.runs.jobs.executors import InProcess, choose_executor
from cerviclip.runs.jobs.job import Job, Outcome, Retries
from cerviclip.runs.jobs.local_pool import LocalPool
from cerviclip.runs.settings.flags import sweep_parser, sweep_request
from cerviclip.runs.settings.plan import make_plan


def jobs_of(zoo, trainers, shots="[1, 2]"):
    text = f"trainers: [{trainers}]\nshots: {shots}\nseeds: [1]\n"
    plan = make_plan(sweep_request(sweep_parser().parse_args(zoo.sweep(text))))
    return [Job(i, spec, str(zoo.out)) for i, spec in enumerate(plan.runs)]


@pytest.mark.parametrize(
    "processes, n_jobs, kind, workers",
    [(1, 9, InProcess, None), (4, 1, InProcess, None), (4, 0, InProcess, None),
     (4, 9, LocalPool, 4), (4, 3, LocalPool, 3)],
)  # fmt: skip
def test_processes_are_started_only_where_they_help(processes, n_jobs, kind, workers):
    executor = choose_executor(processes, n_jobs)
    assert type(executor) is kind and getattr(executor, "processes", None) == workers


def test_in_one_process_jobs_come_in_order_and_one_at_a_time(monkeypatch):
    events = []
    monkeypatch.setattr(executors, "do_job", lambda job: events.append(job) or Outcome(job, None))
    for outcome in InProcess().run(["a", "b"], lambda job: events.append(f"{job} started")):
        events.append(f"{outcome.job} ended")
    assert events == ["a started", "a", "a ended", "b started", "b", "b ended"]


def test_a_failed_job_has_its_error_and_the_next_one_is_made(zoo):
    jobs = jobs_of(zoo, "ZooBroken, ZooLinear", shots="[1]")
    broken, linear = InProcess().run(jobs, lambda job: None)
    assert broken.error == "RuntimeError: the zoo is on fire"
    assert "forward_backward" in broken.trace
    assert (linear.error, linear.trace) == (None, "")


@pytest.mark.slow
def test_a_dead_worker_costs_its_run_and_another_takes_its_place(zoo):
    jobs = jobs_of(zoo, "ZooSuicidal, ZooBroken, ZooLinear", shots="[1]")
    started = []
    outcomes = {o.job.number: o for o in LocalPool(2).run(jobs, lambda j: started.append(j.number))}
    assert started == [0, 1, 2]
    assert outcomes[0].error.startswith("the worker process died (signal 9, as the system does")
    assert "the same command goes on" in outcomes[0].error
    assert outcomes[1].error == "RuntimeError: the zoo is on fire" and outcomes[2].error is None
    assert "forward_backward" in outcomes[1].trace
    assert len(list(zoo.out.rglob("results.json"))) == 2  # the dead one's is the sweep's to write


class Worker:
    """Stands for a process and both ends of its pipe; it may be killed while it has no run."""

    exitcode = -9

    def __init__(self, dies_after=99):
        self.dies_after, self.jobs = dies_after, []

    def send(self, job):
        if len(self.jobs) >= self.dies_after:
            raise BrokenPipeError(32, "Broken pipe")
        self.jobs.append(job)

    def recv(self):
        return Outcome(self.jobs[-1], None)

    def start(self):
        pass

    join = terminate = close = start


def test_a_worker_that_dies_between_two_runs_costs_none(zoo, monkeypatch):
    jobs = jobs_of(zoo, "ZooLinear", shots="[1, 2, 4]")
    made = [Worker(dies_after=1), Worker()]
    waiting_workers = list(made)
    work = local_pool._Workers(1, lambda job: None, Retries())
    monkeypatch.setattr(local_pool, "wait", list)

    class Context:
        current = None

        def Pipe(self):
            self.current = waiting_workers.pop(0)
            return self.current, self.current

        def Process(self, **_):
            return self.current

    work.context = Context()
    assert [outcome.job.number for outcome in work.work(jobs)] == [0, 1, 2]
    assert [job.number for job in made[0].jobs] == [0]
    assert [job and job.number for job in made[1].jobs] == [1, 2, None]


@pytest.mark.slow
def test_closing_the_iterator_stops_the_workers(zoo):
    jobs = jobs_of(zoo, "ZooLinear, ZooSleeper", shots="[1]")
    running = LocalPool(2).run(jobs, lambda job: None)
    assert next(running).error is None
    running.close()  # would wait for the sleeper's five minutes
    assert len(list(zoo.out.rglob("results.json"))) == 1
