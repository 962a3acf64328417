"""Evenkeel: its labels; flags say the rest."""


def text(job):
    labels = dict(job.setup.labels)
    if job.setup.backends == "h2c":
        labels["scheme"] = "h2c"
    lines = [f'"{key}" = "{value}"' for key, value in labels.items()]
    return "\n".join(["[pools.bench]", *lines, ""]) if lines else ""
