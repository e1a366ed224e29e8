"""A fused epoch: the kernel gives what the steps give, is made for a GPU, and refuses the rest.

No GPU is needed: Pallas's interpreter runs the kernel on a CPU, where this JAX has one for kernels
of GPUs, and the lowering for CUDA, layouts and barriers included, is done when it is exported.
"""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental.pallas import mosaic_gpu
from jax.sharding import Mesh

import logistack as ls
from logistack.training import fused, kernel
from logistack.training import population as members

interpreted = pytest.mark.skipif(
    not hasattr(mosaic_gpu, "InterpretGPUParams"),
    reason=f"JAX {jax.__version__} has no interpreter of GPU kernels",
)
MEMBERS = 2
KEYS = jax.random.split(jax.random.key(0), MEMBERS)
X = jax.random.uniform(jax.random.key(1), (150, 20))
CLASSES = jax.random.randint(jax.random.key(2), (150,), 0, 3)
ROWS = jax.random.uniform(jax.random.key(3), (150, 3))
WEIGHTS = jax.random.randint(jax.random.key(4), (MEMBERS, 150), 0, 3).astype(jnp.float32)
RATES = jnp.array([0.01, 0.02])
SOFTMAX = ls.losses.softmax_cross_entropy
MOMENTUM = {"learning_rate": RATES, "momentum": 0.9}
BFLOAT16 = jnp.bfloat16


def start_of(sizes):
    return jax.vmap(lambda key: ls.init_params(key, sizes))(KEYS)


def population(y=CLASSES, sizes=(20, 24, 3), params=None, keys=KEYS, x=X, **options):
    options = {
        "optimizer": optax.sgd, "hyperparams": MOMENTUM, "epochs": 2, "batch_size": 64,
        "loss": SOFTMAX, **options,
    }  # fmt: skip
    params = start_of(sizes) if params is None else params
    return ls.fit_population(keys, params, x, y, **options)


def numbers_of(result):
    return jax.tree.leaves((result.params, result.state.opt_state, result.history))


def furthest(ours, theirs):
    """The largest difference of any two arrays, of which each is 1 at its largest."""
    pairs = zip(numbers_of(ours), numbers_of(theirs), strict=True)
    return max(
        float(np.max(np.abs(one - other)) / max(np.max(np.abs(other)), 1e-30))
        for one, other in pairs
    )


@interpreted
@pytest.mark.parametrize(
    "options",
    [
        {"sample_weight": WEIGHTS, "reduction": "mean"},
        {"optimizer": optax.adam, "hyperparams": {"learning_rate": RATES, "b2": 0.99},
         "y": ROWS, "loss": ls.losses.sigmoid_cross_entropy, "order": "shared"},
        {"hyperparams": {"learning_rate": 0.05}, "sizes": (20, 30, 9, 3),
         "label_smoothing": 0.1, "validation": (X[:40], CLASSES[:40])},
        {"optimizer": optax.adam, "hyperparams": {"learning_rate": RATES}, "sizes": (20, 3),
         "batch_size": 128, "rows": [np.arange(140), np.arange(10, 150)]},
    ],
    ids=["momentum", "adam", "deeper", "rows"],
)  # fmt: skip
def test_members_are_what_the_steps_make_of_them(options, monkeypatch):
    plans = []

    def seen(plan, *shape):
        plans.append(plan)
        return kernel.make_kernel(plan, *shape)

    monkeypatch.setattr(fused, "make_kernel", seen)
    interpreter = mosaic_gpu.InterpretGPUParams()
    ours, theirs = population(fused=interpreter, **options), population(**options)
    assert {plan.interpret for plan in plans} == {interpreter}
    assert furthest(ours, theirs) < 2e-6


@interpreted
def test_bfloat16_is_that_of_the_steps():
    options = {"compute_dtype": BFLOAT16, "sizes": (20, 3), "epochs": 1}
    ours = population(fused=mosaic_gpu.InterpretGPUParams(), **options)
    # XLA may round to bfloat16 what the steps' products give, and the kernel does not.
    assert furthest(ours, population(**options)) < 0.01


def steps_in_float64(x, y, w, rate, momentum, weights, biases, rounded):
    """SGD with momentum on the softmax's cross-entropy, for one member, as a book has it."""
    traces = [np.zeros_like(each) for each in (*weights, *biases)]
    logits = []
    for batch, goals, counts in zip(x, y, w, strict=True):
        a = [batch]
        for weight, bias in zip(weights, biases, strict=True):
            z = rounded(a[-1]) @ rounded(weight) + bias
            a.append(1 / (1 + np.exp(-z)))
        logits.append(z)
        power = np.exp(z - z.max(axis=1, keepdims=True))
        slope = power / power.sum(axis=1, keepdims=True) * goals.sum(axis=1, keepdims=True) - goals
        slope = slope * counts[:, None]
        gradients = []
        for weight, a_in in zip(weights[::-1], a[-2::-1], strict=True):
            gradients.append((rounded(a_in).T @ rounded(slope), slope.sum(axis=0)))
            slope = rounded(slope) @ rounded(weight).T * a_in * (1 - a_in)
        of_weights, of_biases = zip(*gradients[::-1], strict=True)
        traces = [g + momentum * t for g, t in zip((*of_weights, *of_biases), traces, strict=True)]
        weights = [w - rate * t for w, t in zip(weights, traces[: len(weights)], strict=True)]
        biases = [b - rate * t for b, t in zip(biases, traces[len(weights) :], strict=True)]
    return np.stack(logits), weights, biases


def to_bfloat16(array):
    return np.float64(np.float32(array).astype(BFLOAT16))


@interpreted
@pytest.mark.parametrize(
    ("parts", "rounded", "bound"),
    # An activation in between may round to the next number of bfloat16.
    [(3, np.float64, 1e-6), (1, to_bfloat16, 1e-3)],
    ids=["float32", "bfloat16"],
)
def test_it_is_as_exact_as_its_operands_and_no_thread_races(parts, rounded, bound):
    races = pytest.importorskip("jax._src.pallas.mosaic_gpu.interpret.interpret_pallas_call")
    plan = kernel.Plan((64, 128, 16), 64, parts, False, 1, True)
    plan = plan._replace(interpret=mosaic_gpu.InterpretGPUParams(detect_races=True))
    random = np.random.default_rng(0)

    def draw(*shape):
        return random.standard_normal(shape).astype(np.float32)

    x, y, w = draw(2, 64, 64), random.dirichlet(np.ones(16), (2, 64)), random.integers(3, size=128)
    y, w = y.astype(np.float32), w.reshape(2, 64).astype(np.float32)
    weights, biases = [draw(64, 128) / 8, draw(128, 16) / 8], [draw(128), draw(16)]
    leaves = []
    for weight, bias in zip(weights, biases, strict=True):
        leaves += [weight, bias, np.zeros_like(weight), np.zeros_like(bias)]
    numbers = np.tile(np.float32([0.01, 0.9]), (2, 1))
    batches = jnp.stack(kernel.split(jnp.asarray(x), parts), axis=1).reshape(-1, 64, 64)
    arguments = [jnp.asarray(each)[None] for each in (y, w, numbers, *leaves)]
    logits, *after = kernel.make_kernel(plan, 1, 2)(batches, *arguments)
    exact = steps_in_float64(*map(np.float64, (x, y, w)), 0.01, 0.9, weights, biases, rounded)
    found = logits[0], [after[0][0], after[4][0]], [after[1][0], after[5][0]]
    for one, other in zip(*map(jax.tree.leaves, (found, exact)), strict=True):
        np.testing.assert_allclose(one, other, rtol=bound, atol=bound * np.abs(other).max())
    assert races.get_races().races_found is False


@pytest.mark.parametrize(
    "options",
    [
        {"sizes": (64, 32, 10)},
        {"sizes": (64, 128, 10)},
        {"sizes": (128, 64, 10), "compute_dtype": BFLOAT16},
        {"sizes": (64, 64, 64, 10), "optimizer": optax.adam,
         "hyperparams": {"learning_rate": 0.01}, "compute_dtype": BFLOAT16},
    ],
    ids=lambda options: "-".join(map(str, options["sizes"])),
)  # fmt: skip
def test_it_is_lowered_for_cuda(options):
    options = {"loss": ls.losses.sigmoid_cross_entropy, "epochs": 1, **options}
    sizes = options.pop("sizes")
    x, y = jnp.zeros((200, sizes[0])), jnp.zeros((200, sizes[-1]))

    def train(params, fused):
        return population(x=x, y=y, params=params, fused=fused, **options).params

    def lowered(fused):
        function = jax.jit(functools.partial(train, fused=fused))
        return jax.export.export(function, platforms=["cuda"])(start_of(sizes)).mlir_module()

    assert lowered(True).count("@mosaic_gpu_v2") == 1
    assert "@mosaic_gpu_v2" not in lowered(False)


@pytest.mark.skipif(len(jax.devices()) < 2, reason="a mesh needs two devices")
def test_it_is_lowered_for_members_on_several_devices(monkeypatch):
    def compiled(mesh):  # without the options of a CPU, which its mesh would bring
        over = functools.partial(members.advance_members, mesh=mesh)
        return jax.jit(over, static_argnames=("epochs", "mark"))

    monkeypatch.setattr(members, "compiled_advance_members", compiled)
    mesh = Mesh(jax.devices()[:2], ("members",))
    train = jax.jit(lambda params: population(params=params, fused=True, mesh=mesh).params)
    exported = jax.export.export(train, platforms=["cuda"])(start_of((20, 24, 3)))
    assert exported.nr_devices == 2
    assert exported.mlir_module().count("@mosaic_gpu_v2") == 1


def of_sizes(*sizes):
    return {"params": start_of(sizes), "x": jnp.zeros((150, sizes[0]))}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (of_sizes(129, 3), r"params: expected widths to 128, got \[129, 3\]"),
        (of_sizes(4, 4, 4, 4, 4, 3), r"params: expected at most 4 layers, one by one, got 5"),
        (of_sizes(128, 128, 128, 3), r"params: expected weights, .* 228,352 bytes .* got 643,200"),
        ({"params": jax.vmap(lambda key: ls.init_params(key, (20, 3), dtype=BFLOAT16))(KEYS)},
         r"params: expected float32, got bfloat16"),
        ({"params": [ls.init_params(key, (20, own, 3)) for key, own in zip(KEYS, (5, 6), strict=True)]},
         r"params: expected networks of one size"),
        ({"batch_size": 50}, r"batch_size: expected a multiple of 64 below 150, got 50"),
        ({"batch_size": None}, r"batch_size: expected a multiple of 64 below 150, got 150"),
        ({"loss": lambda z, y: jnp.sum(z**2), "y": ROWS}, r"loss: expected one of \['sigmoid_"),
        ({"optimizer": optax.sgd(0.1), "hyperparams": None}, r"optimizer: expected optax\.sgd or"),
        ({"optimizer": optax.adamw}, r"optimizer: expected optax\.sgd or optax\.adam itself"),
        ({"optimizer": optax.adam, "hyperparams": {"learning_rate": 0.1, "eps_root": 0.1, "b3": 1}},
         r"hyperparams: expected the first and any of learning_rate, b1, b2, eps, eps_root, got"),
        ({"coordinates": "centred"}, r"coordinates: expected 'plain', got 'centred'"),
        ({"dropout": 0.5}, r"dropout: expected 0"),
        ({"augment": lambda key, x: x}, r"augment: expected none"),
        ({"ema_decay": 0.9}, r"ema_decay: expected none"),
        ({"mesh": Mesh(jax.devices()[:1], ("batch",))}, r"mesh: expected no axis 'batch'"),
        ({}, r"device: expected an NVIDIA GPU of compute capability 9, got cpu"),
        ({"mesh": Mesh(jax.devices()[:1], ("members",))}, r"device: expected an NVIDIA GPU"),
    ],
)  # fmt: skip
def test_what_the_kernel_does_not_do_is_named(options, fault):
    with pytest.raises(ValueError, match=r"^fused: .*\. " + fault):
        population(fused=True, **options)


def test_automatically_it_is_off_where_it_is_not_supported():
    for ours, theirs in zip(
        numbers_of(population(fused="auto")), numbers_of(population()), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("value", ["yes", None, 1.5])
def test_another_word_is_an_error(value):
    with pytest.raises(ValueError, match=r"^fused: expected True, False or 'auto', got"):
        population(fused=value)


@pytest.mark.parametrize(
    ("capability", "platform", "runs"),
    [("9.0", "gpu", True), ("8.0", "gpu", False), ("10.0", "gpu", False), ("gfx942", "gpu", False),
     ("9.0", "tpu", False)],
)  # fmt: skip
def test_only_hopper_runs_it(capability, platform, runs):
    device = SimpleNamespace(
        platform=platform, compute_capability=capability, device_kind="some device"
    )
    assert (fused.why_not_on(device) is None) is runs
