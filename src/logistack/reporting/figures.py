"""The figures of a report, as SVG in the page."""

import io
import re
from typing import Any

import numpy as np

from logistack._checks import import_extra
from logistack.reporting import evaluation
from logistack.reporting.evaluation import Evaluation
from logistack.reporting.findings import Findings
from logistack.reporting.models import STACK
from logistack.separability import CommonPoint, Separator

SCALE = 0.09
"""So many times the size of a letter of the page a point of a figure is, at most."""
MOST_DRAWN = 20_000
"""Entries of the samples of a certificate that is drawn."""


def of(report: Findings) -> dict[str, str]:
    """SVG by name."""
    from logistack import plots
    from logistack.plots import style

    drawn = {}
    if report.evaluation is not None:
        drawn["scores"] = _scores(report.evaluation)
        drawn |= _curves(report)
        drawn["reliability"] = plots.reliability(report.reliability)
    line = report.line
    if (
        line is not None
        and isinstance(line.certificate, Separator | CommonPoint)
        and line.samples is not None
    ):
        inputs, labels = line.samples
        if inputs.integers.size <= MOST_DRAWN:
            axes = [*map(style.plain, line.features)]
            named: Any = {"axis_labels": tuple(axes)} if len(axes) == 2 else {}
            drawn["certificate"] = plots.certificate(
                line.certificate, _floats(inputs), labels, **named
            )
    return {name: _svg(figure, name) for name, figure in drawn.items()}


def _floats(inputs: Any) -> np.ndarray:
    return inputs.integers.astype(float) * np.array([float(unit) for unit in inputs.units])


def _scores(found: Evaluation) -> Any:
    from logistack.plots import style

    @style.styled
    def draw() -> Any:
        figure = style.new_figure(3.6, 4.4)
        panels = figure.subplots(3, 2, sharey=True).ravel()
        panels[-1].set_axis_off()
        names = list(found.estimates)
        for axes, (score, higher) in zip(panels, evaluation.HIGHER.items(), strict=False):
            for place, name in enumerate(names):
                own = found.estimates[name][score]
                color = style.VERMILLION if name == STACK else style.BLUE
                axes.plot([own.low, own.high], [place, place], color=color, lw=2)
                axes.plot([own.mean], [place], "o", color=color, ms=4)
            axes.set_title(f"{score}\n({'more' if higher else 'less'} is better)", fontsize=8)
            axes.set_yticks(range(len(names)), names)
            axes.tick_params(labelsize=7)
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.locator_params(axis="x", nbins=3)
        return figure

    return draw()


def _curves(report: Findings) -> dict[str, Any]:
    """The log loss by size and by rows, and of the training by epoch, as far as they are there."""
    from logistack.plots import style

    found, curve, training = report.evaluation, report.curve, report.training
    assert found is not None
    sizes = found.sizes

    def whiskers(axes: Any, places: Any, own: Any) -> None:
        axes.vlines(places, [one.low for one in own], [one.high for one in own],
                    color=style.VERMILLION, lw=2)  # fmt: skip
        axes.plot(places, [one.mean for one in own], "o-", color=style.VERMILLION, ms=4, lw=1)

    def by_size(axes: Any) -> None:
        whiskers(axes, range(len(sizes)), [size.loss for size in sizes])
        axes.set_xticks(range(len(sizes)), ["+".join(map(str, size.hidden)) for size in sizes])
        axes.set(xlabel="hidden units", ylabel="log loss", title="on rows held out")

    def by_rows(axes: Any) -> None:
        assert curve is not None
        whiskers(axes, curve.rows, curve.losses)
        axes.set(xlabel="rows learned from", ylabel="log loss", title="on rows held out",
                 xlim=(0, None))  # fmt: skip

    def by_epoch(axes: Any) -> None:
        assert training is not None
        axes.plot(range(1, len(training.loss) + 1), training.loss, color=style.BLUE, lw=1.5)
        axes.set(xlabel="epoch", ylabel="log loss", title="on the rows learned from")

    @style.styled
    def draw(drawer: Any) -> Any:
        figure = style.new_figure(2.1, 2.1)
        axes = figure.subplots()
        drawer(axes)
        axes.title.set_fontsize(8)
        axes.tick_params(labelsize=7)
        return figure

    drawers = {
        "sizes": by_size,
        **({} if curve is None else {"rows": by_rows}),
        **({} if training is None else {"epochs": by_epoch}),
    }
    return {name: draw(drawer) for name, drawer in drawers.items()}


def _svg(figure: Any, name: str) -> str:
    """The figure without what stands before the element, with ids that are its own."""
    content = io.BytesIO()
    with import_extra("matplotlib", "report").rc_context({"svg.hashsalt": name}):
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    text = content.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    found = re.search(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', text)
    assert found is not None
    # Letters of the same size in all figures, whatever else has to be smaller.
    width = SCALE * float(found[1].split()[2])
    head = f'<svg viewBox="{found[1]}" role="img" style="max-width:{width:.1f}rem">'
    return head + text[found.end() :]
