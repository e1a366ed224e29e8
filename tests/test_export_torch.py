"""Parameters by PyTorch's names, and the same logits there."""

import doctest
import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logistack as ls

SIZES = (3, 4, 4, 4, 2)
PARAMS = ls.init_params(jax.random.key(0), SIZES)
INPUTS = np.random.default_rng(0).normal(size=(7, 3)).astype("f")


def sequential(torch, sizes, dtype=None):
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs, dtype=dtype), torch.nn.Sigmoid()]
    return torch.nn.Sequential(*layers[:-1])


def logits(params, inputs=INPUTS):
    return np.asarray(jax.vmap(ls.logits, (None, 0))(params, inputs))


def theirs(model, inputs=INPUTS):
    import torch

    return model(torch.from_numpy(inputs)).detach().numpy()


def population(members=5):
    keys = jax.random.split(jax.random.key(1), members)
    return jax.vmap(lambda key: ls.init_params(key, SIZES))(keys)


def same(ours, others):
    assert jax.tree.structure(ours) == jax.tree.structure(others)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(others), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_a_model_computes_the_same_logits(torch):
    model = sequential(torch, SIZES)
    model.load_state_dict(ls.export.torch.state_dict(PARAMS), strict=True)
    np.testing.assert_allclose(theirs(model), logits(PARAMS), atol=1e-6)
    head = torch.nn.Sequential(*model, torch.nn.Softmax(dim=1))
    head.load_state_dict(ls.export.torch.state_dict(PARAMS), strict=True)


def test_a_model_computes_the_same_logits_in_float64(torch, x64):
    params = ls.init_params(jax.random.key(0), SIZES, dtype=jnp.float64)
    model = sequential(torch, SIZES, torch.float64)
    model.load_state_dict(ls.export.torch.state_dict(params), strict=True)
    inputs = INPUTS.astype(float)
    np.testing.assert_allclose(theirs(model, inputs), logits(params, inputs), atol=1e-12)
    same(ls.export.torch.params_of(model.state_dict()), params)


def test_a_trained_model_s_state_becomes_parameters_that_it_no_longer_changes(torch):
    model = sequential(torch, SIZES)
    before = theirs(model)
    params = ls.export.torch.params_of(dict(model.named_parameters()))  # which require gradients
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    np.testing.assert_allclose(before, logits(params), atol=1e-6)
    tensors = ls.export.torch.state_dict(params)
    tensors["0.weight"].zero_()
    assert np.any(params[0].weight)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_each_dtype_is_kept(torch, dtype):
    params = jax.tree.map(lambda a: a.astype(dtype), PARAMS)
    tensors = ls.export.torch.state_dict(params)
    assert str(tensors["0.bias"].dtype) == f"torch.{jnp.dtype(dtype).name}"
    same(ls.export.torch.params_of(tensors), params)


def test_a_stack_becomes_its_layers(torch):
    stacked = ls.stack(PARAMS)
    assert len(stacked) < len(PARAMS)
    for one, other in zip(
        ls.export.torch.state_dict(PARAMS).items(),
        ls.export.torch.state_dict(stacked).items(),
        strict=True,
    ):
        assert one[0] == other[0]
        assert torch.equal(one[1], other[1])


def test_a_population_is_a_stack_of_module_states(torch):
    models = [sequential(torch, SIZES) for _ in range(5)]
    stacked, _ = torch.func.stack_module_state(models)
    params = ls.export.torch.params_of(stacked)
    for place, model in enumerate(models):
        own = jax.tree.map(lambda a, place=place: a[place], params)
        np.testing.assert_allclose(theirs(model), logits(own), atol=1e-6)
    back = ls.export.torch.state_dict(params, members=True)
    assert list(back) == list(stacked)
    assert all(torch.equal(back[name], stacked[name]) for name in back)


def test_a_list_of_networks_is_a_list_of_modules(torch):
    sizes = [(3, 2), (3, 5, 2), (3, 4, 4, 2)]
    networks = [ls.init_params(jax.random.key(0), own) for own in sizes]
    models = torch.nn.ModuleList([sequential(torch, own) for own in sizes])
    models.load_state_dict(ls.export.torch.state_dict(networks), strict=True)
    for model, network in zip(models, networks, strict=True):
        np.testing.assert_allclose(theirs(model), logits(network), atol=1e-6)
    same(ls.export.torch.params_of(models.state_dict()), networks)


def test_pytorch_reads_the_file(torch, tmp_path):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "model.safetensors"
    ls.export.torch.save(path, PARAMS)
    model = sequential(torch, SIZES)
    model.load_state_dict(load_file(path), strict=True)
    np.testing.assert_allclose(theirs(model), logits(PARAMS), atol=1e-6)
    save_file(model.state_dict(), path)
    same(ls.export.torch.load(path), PARAMS)


def test_the_example_is_true(torch):
    text = ls.export.torch.state_dict.__doc__.replace("  # doctest: +SKIP", "")
    names = {"state_dict": ls.export.torch.state_dict}
    example = doctest.DocTestParser().get_doctest(text, names, "state_dict", None, None)
    assert doctest.DocTestRunner().run(example).failed == 0


KINDS = {
    "layers": (PARAMS, False),
    "a stack": (ls.stack(PARAMS), False),
    "members": (population(), True),
    "members of a stack": (jax.vmap(ls.stack)(population()), True),
    "as many members as a stack has layers": (jax.vmap(ls.stack)(population(3)), True),
    "networks": ([ls.stack(PARAMS), ls.init_params(jax.random.key(1), (3, 2))], False),
    "more networks than ten": ([PARAMS] * 12, False),
    "more layers than ten": (ls.init_params(jax.random.key(1), (1,) * 13), False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_saved_comes_back_bit_for_bit(tmp_path, kind):
    params, members = KINDS[kind]
    path = tmp_path / "file"
    ls.export.torch.save(path, params, members=members)
    same(ls.export.torch.load(path), params)
    content = path.read_bytes()
    ls.export.torch.save(path, params, members=members)
    assert path.read_bytes() == content


def test_no_file_needs_pytorch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    ls.export.torch.save(tmp_path / "file", PARAMS)
    same(ls.export.torch.load(tmp_path / "file"), PARAMS)
    with pytest.raises(ModuleNotFoundError, match="torch"):
        ls.export.torch.state_dict(PARAMS)


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "params"
    ls.export.torch.save(path, PARAMS)
    content = path.read_bytes()
    for length in (0, 4, 8, 20, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"^path: .*params"):
            ls.export.torch.load(path)


def test_other_forms_are_refused(tmp_path):
    ls.export.safetensors.save(tmp_path / "ours", PARAMS)
    with pytest.raises(ValueError, match=r"^path: .*ours: expected 0\.weight.*got layers\.0"):
        ls.export.torch.load(tmp_path / "ours")
    ls.export.numpy.save(tmp_path / "npz", PARAMS)
    with pytest.raises(ValueError, match=r"^path: expected a safetensors file, got .*npz"):
        ls.export.torch.load(tmp_path / "npz")


@pytest.mark.parametrize(
    "depths",
    ["{", "3", "[3]", "[0, 0]", "[0, 3, 0, 0]", "[0, -3, 0]", "[0, 9999999999999999999, 0]", "[4]"],
)
def test_other_stacks_than_there_are_layers_for_are_refused(tmp_path, depths):
    ls.export.safetensors.write(tmp_path / "file", named(PARAMS), {"depths": depths})
    with pytest.raises(ValueError, match=r"^path: .*file: expected depths"):
        ls.export.torch.load(tmp_path / "file")


def named(params):
    return {
        f"{2 * place}.{part}": np.asarray(array)
        for place, layer in enumerate(params)
        for part, array in layer._asdict().items()
    }


GOOD = named(PARAMS)
WRONG = {
    "nothing": {},
    "no bias": {"0.weight": GOOD["0.weight"]},
    "no biases": {name: array for name, array in GOOD.items() if "weight" in name},
    "a gap": {name: array for name, array in GOOD.items() if not name.startswith("2.")},
    "an odd place": {"1.weight": GOOD["0.weight"], "1.bias": GOOD["0.bias"]},
    "a prefix": {f"model.{name}": array for name, array in GOOD.items()},
    "one more": GOOD | {"8.running_mean": np.zeros(2, "f")},
    "no network": {f"1.{name}": array for name, array in GOOD.items()},
    "a number": {0: np.zeros(2, "f")},
}


@pytest.mark.parametrize("kind", WRONG)
def test_other_names_are_refused(kind):
    with pytest.raises(ValueError, match=r"^state_dict: expected 0\.weight, .*got"):
        ls.export.torch.params_of(WRONG[kind])


MISFITS = {
    "2.weight of shape (out, 4), got (4, 5)": {"2.weight": np.ones((4, 5), "f")},
    "2.weight of shape (out, 4), got (5, 4, 4)": {"2.weight": np.ones((5, 4, 4), "f")},
    "0.weight of shape (out, in), got ()": {"0.weight": np.ones((), "f")},
    "0.weight of shape (out, in), got (1, 1, 4, 3)": {"0.weight": np.ones((1, 1, 4, 3), "f")},
    "0.weight of shape (out, in), got (4, 0)": {"0.weight": np.ones((4, 0), "f")},
    "0.weight of shape (0, out, in), got (0, 4, 3)": {"0.weight": np.ones((0, 4, 3), "f")},
    "4.bias of shape (4,), got (3,)": {"4.bias": np.ones(3, "f")},
    "4.bias of shape (4,), got (4, 1)": {"4.bias": np.ones((4, 1), "f")},
}


@pytest.mark.parametrize("message", MISFITS)
def test_shapes_that_do_not_fit_are_named(message):
    with pytest.raises(ValueError, match=r"^state_dict: ") as caught:
        ls.export.torch.params_of(GOOD | MISFITS[message])
    assert message in str(caught.value)


def test_dtypes_that_do_not_fit_are_named(torch):
    for wrong in (np.ones(4, int), torch.ones(4).to(torch.int32), np.ones(4, complex)):
        with pytest.raises(TypeError, match=r"^state_dict: expected float16.*got .* for 2\.bias"):
            ls.export.torch.params_of(GOOD | {"2.bias": wrong})
    with pytest.raises(TypeError, match=r"float32, as the first, got float16 for 2\.bias"):
        ls.export.torch.params_of(GOOD | {"2.bias": np.ones(4, np.float16)})
    with pytest.raises(ValueError, match=r"^state_dict: 2\.bias is float64.*jax_enable_x64"):
        ls.export.torch.params_of(GOOD | {"2.bias": np.ones(4)})
    for wrong in (torch.ones(4).to_sparse(), torch.ones(4, device="meta"), [1.0] * 4):
        with pytest.raises(TypeError, match=r"^state_dict: expected a tensor.* for 2\.bias"):
            ls.export.torch.params_of(GOOD | {"2.bias": wrong})
    with pytest.raises(TypeError, match=r"^state_dict: expected a mapping.*got Sequential"):
        ls.export.torch.params_of(sequential(torch, SIZES))


def test_what_has_no_names_is_refused(tmp_path):
    save = ls.export.torch.save
    for wrong, members in (([], False), ([PARAMS], True), (PARAMS, True)):
        with pytest.raises(ValueError, match=r"^params: expected .*member"):
            save(tmp_path / "file", wrong, members=members)
    with pytest.raises(ValueError, match=r"^params\[1\]\[1\]: expected a weight for 4 inputs"):
        save(tmp_path / "file", [PARAMS, (PARAMS[0], PARAMS[0])])
    with pytest.raises(TypeError, match=r"^params: expected float16.*float8_e5m2 for 0\.weight"):
        save(tmp_path / "file", jax.tree.map(lambda a: a.astype(jnp.float8_e5m2), PARAMS))
    assert not any(tmp_path.iterdir())
