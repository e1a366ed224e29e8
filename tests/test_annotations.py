"""Annotations are promises: shapes, dtypes and types are checked at every call of a tour."""

import os
import subprocess
import sys

TOUR = """
import jaxtyping

names = (
    "layers", "network", "coordinates", "initialization", "losses", "metrics", "prediction", "training",
    "committees", "conformal", "statistics",
    "data.augmentation", *(f"separability.{name}" for name in (
        "arithmetic", "certificates", "classes", "data", "margin", "questions", "rational",
        "samples", "text", "words",
    )),
)
rooms = [f"logistack.{name}" for name in names]
with jaxtyping.install_import_hook(rooms, "beartype.beartype"):
    import logistack as ls

    for name in ls.__all__:  # a room is imported when it is first used
        getattr(ls, name)

import functools
import sys

import jax
import jax.numpy as jnp
import optax

# Annotations are checked as a function is traced; what is not compiled costs little.
trace = jax.eval_shape
key = jax.random.key(0)
inputs = jnp.linspace(-1.0, 1.0, 21).reshape(7, 3)
labels = jnp.array([0, 1, 1, 0, 1, 0, 0])
rows = jnp.eye(2)[labels]
weights = jnp.linspace(0.0, 2.0, 7)

for scheme in ("orthogonal", "glorot", "normal", "zeros"):
    for dtype in (jnp.float32, jnp.bfloat16):
        trace(functools.partial(ls.init_params, sizes=[3, 4, 2], scheme=scheme, dtype=dtype), key)
plain = ls.init_params(key, (3, 4, 4, 2), scheme="zeros")
deep = (plain[0], ls.Layer(jnp.zeros((5, 4, 4)), jnp.zeros((5, 4))), plain[2])
half = ls.init_params(key, (3, 2), scheme="zeros", dtype=jnp.bfloat16)

for params in (plain, deep, deep[:2], half):
    for function in (ls.fold, ls.unfold, ls.stack, ls.unstack):
        trace(function, params)
    for function in (
        ls.logits, ls.forward, ls.activations, ls.jacobian_spectrum, ls.probabilities, ls.predict
    ):
        trace(function, params, inputs[0])
        trace(jax.vmap(function, (None, 0)), params, inputs)
for layer in deep:
    trace(ls.sigmoid_layer, layer, jnp.ones(layer.weight.shape[-1]))

for loss in (ls.losses.cross_entropy, ls.losses.sigmoid_cross_entropy):
    trace(loss, jnp.array([0.25, 0.75]), rows[0])
trace(ls.losses.sigmoid_cross_entropy, jnp.array([0.25]), labels[0])
for target in (rows[0], labels[0]):
    trace(jax.value_and_grad(ls.losses.softmax_cross_entropy), jnp.array([0.25, 0.75]), target)

for targets in (labels, rows):
    trace(ls.metrics.accuracy, rows, targets)
    trace(lambda z, targets: ls.metrics.error_rate(z, targets, weights=weights), rows, targets)
    trace(ls.metrics.confusion_matrix, rows, targets)
    trace(ls.metrics.target_class, targets)
trace(ls.metrics.confusion_matrix, rows[:, :1], labels)
trace(ls.metrics.predicted_class, rows)
trace(ls.metrics.predicted_class, rows[0])

shares = jax.nn.softmax(rows)
for measure in (
    ls.metrics.brier_score, ls.metrics.log_loss, ls.metrics.reliability,
    ls.metrics.expected_calibration_error,
):
    for targets in (labels, rows):
        trace(measure, shares, targets)
        trace(lambda p, targets: measure(p, targets, weights=weights), shares[:, :1], labels)
for params in (jax.tree.map(lambda part: jnp.stack([part] * 2), plain), [plain, deep]):
    trace(ls.committee, params, inputs[0])
    trace(lambda params, w: ls.committee(params, inputs[0], weights=w), params, jnp.ones(2))
trace(ls.committees.disagreement, shares)
trace(lambda p: ls.committees.greedy_weights(p, labels, steps=2), jnp.stack([shares] * 3, 1))
limit = ls.conformal.threshold(shares, labels, alpha=0.2, score=ls.conformal.adaptive)
sets = jax.vmap(ls.conformal.prediction_set, (0, None))(shares, limit)
print(ls.conformal.coverage(sets, labels), file=sys.stderr)
print(ls.summarize(weights, labels), file=sys.stderr)
print(ls.compare(weights[1:], {"class": list("aaabbb")}, [0, 1, 2] * 2), file=sys.stderr)

adam = optax.adam(1e-2)
classes = {"loss": ls.losses.softmax_cross_entropy, "targets": labels}
for params in (plain, deep, half):
    for data in ({"targets": rows}, classes):
        total = functools.partial(ls.summed_loss, inputs=inputs, **data)
        trace(jax.grad(lambda params, weights: total(params, weights=weights)), params, weights)
        for batch_size in (None, 3):
            run = functools.partial(
                ls.fit, inputs=inputs, **data, optimizer=adam, epochs=2, batch_size=batch_size,
                reduction="mean",
            )
            trace(lambda key, params: run(key, run(key, params).state), key, params)
            trace(lambda w: run(key, params, sample_weight=w), weights)
trace(jax.vmap(lambda rate: ls.fit(
    key, plain, inputs, rows, optimizer=optax.sgd(rate), epochs=2, batch_size=2,
)), jnp.ones(3))
trace(ls.make_step(optax.lbfgs()), ls.init_state(plain, optax.lbfgs()), inputs, rows, weights)
careful = functools.partial(
    ls.fit, key, inputs=inputs, optimizer=optax.sgd, epochs=2, batch_size=3,
    hyperparams={"learning_rate": 0.1}, sample_weight=weights, class_weight=jnp.ones(2),
    patience=1, min_delta=0.1, dropout=(0.1, 0.5), label_smoothing=0.1, ema_decay=0.9,
)
for params in (plain, deep, half):
    for targets, loss in (
        (rows, ls.losses.sigmoid_cross_entropy), (labels, ls.losses.softmax_cross_entropy)
    ):
        for validation in (weights, (inputs, targets), (inputs, targets, weights)):
            train = functools.partial(careful, targets=targets, loss=loss, validation=validation)
            trace(train, params)
            trace(functools.partial(train, compute_dtype=jnp.bfloat16, reduction="mean"), params)
    trace(functools.partial(
        careful, targets=rows, validation=weights, coordinates="centred", remat=True,
        augment=lambda key, x: -x,
    ), params)
trace(ls.data.augment, key, jnp.zeros((5, 4)))
result = ls.fit(key, plain, inputs, rows, optimizer=optax.sgd(0.1), epochs=2, batch_size=3)
for targets, loss in (
    (rows, ls.losses.sigmoid_cross_entropy), (labels, ls.losses.softmax_cross_entropy)
):
    ls.fit_stream(
        key, plain, [(inputs, targets), (inputs[:3], targets[:3], weights[1:4])], epochs=2,
        optimizer=optax.sgd(0.1), loss=loss, validation=(inputs, targets), ema_decay=0.9,
        class_weight=jnp.ones(2), dropout=0.5,
    )
result = ls.fit_with_callbacks(
    key, plain, inputs, rows, optimizer=optax.sgd(0.1), epochs=2, validation=(inputs, rows),
    patience=3, ema_decay=0.9,
)
ls.diagnose(result.history)
_, seen = ls.make_step(optax.sgd(0.1))(result.state, inputs, rows)
records = (*result.params, *deep, result.history, result.state, result.state.best, seen)
for record in records:  # the hook passes by fields
    for field, promise in type(record).__annotations__.items():
        if field in ("params", "opt_state"):  # whose types are no classes
            continue
        if not isinstance(getattr(record, field), promise):
            raise SystemExit(f"{type(record).__name__}.{field} is no {promise}")

points = [[0, 0], [0, 1], [1, 0], [1, 1], [1e300, 0.1]]
for marks in ([0, 1, 1, 0, 0], [0, 0, 0, 1, 1], list("abcab"), [1, 1, 1, 1, 1]):
    proof = ls.certify(points, marks)
    str(proof)
    if not (proof.verify() and ls.certificate_from_json(proof.to_json()) == proof):
        raise SystemExit("a proof does not hold")
str(ls.untangle(plain, inputs, labels))

wrong = {
    "type": lambda: ls.init_params(key, 3),
    "shape": lambda: ls.metrics.accuracy(rows, labels, weights=weights[:3]),
    "dtype": lambda: ls.logits(plain, inputs[0].astype(complex)),
}
for name, call in wrong.items():
    try:
        call()
    except jaxtyping.TypeCheckError:
        continue
    raise SystemExit(f"the hook let a wrong {name} pass: nothing was checked")
print("every annotation held")
"""


def test_annotations_hold_over_a_tour_of_the_library():
    done = subprocess.run(
        [sys.executable, "-c", TOUR],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.strip() == "every annotation held"
