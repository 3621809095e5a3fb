"""Part f: where the time of a pool and of a step goes, as two profiles beside the sheet."""

import cProfile
import io
import pstats
from dataclasses import replace
from functools import partial

from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_data import Bench, as_pool, train
from benchmarks.gpu_sheet import Sheet

LINES = 25


def measure(bench: Bench, sheet: Sheet) -> None:
    """Profile the host's part of an MLP pool, and the device's part of ResNet-9's steps."""
    sheet.attempt("f host, pool of MLPs", partial(_host, bench, sheet))
    sheet.attempt("f device, resnet9", partial(_device, bench, sheet))


def _host(bench: Bench, sheet: Sheet) -> None:
    data = bench.digits.first(718)
    settings = {"epochs": bench.size(20, 1), "batch_size": 64}
    recipe = as_pool(bench.recipe(data, {"architecture": "mlp"}, **settings))
    recipes = [replace(recipe, seed=seed) for seed in range(bench.size(512, 4))]
    profiler = cProfile.Profile()
    profiler.enable()
    done = train(bench, recipes, data.samples)
    profiler.disable()
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).sort_stats("tottime").print_stats(LINES)
    figure = f"{done.seconds:.2f} s under the profiler"
    _keep(sheet, "profile-host.txt", text.getvalue(), "mlp pool, Python", figure)


def _device(bench: Bench, sheet: Sheet) -> None:
    batch = bench.size(512, 12)
    data = bench.images.first(8 * batch)
    model = {"architecture": "resnet9", "normalize": "standard"}
    recipe = bench.recipe(data, model, epochs=1, batch_size=batch)
    train(bench, [recipe], data.samples)
    kinds = [ProfilerActivity.CPU]
    kinds += [ProfilerActivity.CUDA] if bench.device.type == "cuda" else []
    with profile(activities=kinds) as profiler:
        done = train(bench, [recipe], data.samples)
    order = "self_cuda_time_total" if bench.device.type == "cuda" else "self_cpu_time_total"
    text = profiler.key_averages().table(sort_by=order, row_limit=LINES)
    figure = f"{done.seconds:.2f} s for 8 steps under the profiler"
    _keep(sheet, "profile-device.txt", text, "resnet9, float32, deterministic, torch", figure)


def _keep(sheet: Sheet, name: str, text: str, what: str, figure: str) -> None:
    """Write a profile beside the sheet, or print it where there is no folder."""
    if sheet.folder is None:
        print(text)
    else:
        sheet.folder.mkdir(parents=True, exist_ok=True)
        (sheet.folder / name).write_text(text)
    sheet.add("f", f"profile of {what}", figure, "1 run")
