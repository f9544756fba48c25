"""Every name that code for Dassl 0.6.3 imports, with upstream's parameters in their order."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys

import pytest

IMPORTS = {
    "dassl.engine": "TRAINER_REGISTRY build_trainer TrainerX TrainerXU SimpleTrainer TrainerBase "
    "SimpleNet",
    "dassl.engine.trainer": "TrainerX TrainerXU SimpleTrainer TrainerBase SimpleNet MetricMeter "
    "AverageMeter SummaryWriter",
    "dassl.engine.build": "TRAINER_REGISTRY build_trainer",
    "dassl.engine.dg": "Vanilla DomainMix",
    "dassl.engine.da": "DANN",
    "dassl.engine.ssl": "FixMatch",
    "dassl.data": "DataManager DatasetWrapper",
    "dassl.data.data_manager": "build_data_loader DataManager DatasetWrapper",
    "dassl.data.datasets": "DATASET_REGISTRY Datum DatasetBase build_dataset",
    "dassl.data.datasets.base_dataset": "Datum DatasetBase",
    "dassl.data.datasets.build": "DATASET_REGISTRY build_dataset",
    "dassl.data.transforms": "build_transform",
    "dassl.data.transforms.transforms": "INTERPOLATION_MODES build_transform",
    "dassl.data.samplers": "build_sampler RandomDomainSampler SeqDomainSampler RandomClassSampler",
    "dassl.evaluation": "EVALUATOR_REGISTRY build_evaluator EvaluatorBase Classification",
    "dassl.metrics": "compute_accuracy compute_distance_matrix",
    "dassl.modeling": "BACKBONE_REGISTRY build_backbone HEAD_REGISTRY build_head NETWORK_REGISTRY "
    "build_network",
    "dassl.modeling.backbone": "Backbone BACKBONE_REGISTRY build_backbone",
    "dassl.modeling.ops": "MixStyle random_mixstyle deactivate_mixstyle run_with_mixstyle "
    "run_without_mixstyle mixup ReverseGrad Sequential2 sharpen_prob ema_model_update",
    "dassl.optim": "build_optimizer build_lr_scheduler",
    "dassl.optim.radam": "RAdam",
    "dassl.optim.lr_scheduler": "ConstantWarmupScheduler LinearWarmupScheduler AVAI_SCHEDS "
    "build_lr_scheduler",
    "dassl.optim.optimizer": "AVAI_OPTIMS build_optimizer",
    "dassl.utils": "setup_logger set_random_seed collect_env_info mkdir_if_missing check_isfile "
    "listdir_nohidden read_json write_json load_checkpoint save_checkpoint resume_from_checkpoint "
    "load_pretrained_weights count_num_param open_specified_layers open_all_layers "
    "init_network_weights tolist_if_not MetricMeter AverageMeter Registry "
    "get_most_similar_str_to_a_from_b check_availability read_image download_url",
    "dassl.utils.torchtools": "load_checkpoint save_checkpoint count_num_param",
    "dassl.utils.tools": "read_json write_json mkdir_if_missing",
    "dassl.utils.meters": "AverageMeter MetricMeter",
    "dassl.utils.logger": "Logger setup_logger",
    "dassl.utils.registry": "Registry",
    "dassl.config": "get_cfg_default clean_cfg",
}
NAMES = [(module, name) for module, names in IMPORTS.items() for name in names.split()]

# Parameters as upstream's callers may pass them, by position or by name; "=" with its default.
SIGNATURES = """
dassl.engine.build_trainer(cfg)
dassl.engine.TrainerBase.__init__(self)
dassl.engine.TrainerBase.register_model(self, name='model', model=None, optim=None, sched=None)
dassl.engine.TrainerBase.get_model_names(self, names=None)
dassl.engine.TrainerBase.save_model(self, epoch, directory, is_best=False, val_result=None,
 model_name='')
dassl.engine.TrainerBase.resume_model_if_exist(self, directory)
dassl.engine.TrainerBase.load_model(self, directory, epoch=None)
dassl.engine.TrainerBase.set_model_mode(self, mode='train', names=None)
dassl.engine.TrainerBase.update_lr(self, names=None)
dassl.engine.TrainerBase.detect_anomaly(self, loss)
dassl.engine.TrainerBase.init_writer(self, log_dir)
dassl.engine.TrainerBase.close_writer(self)
dassl.engine.TrainerBase.write_scalar(self, tag, scalar_value, global_step=None)
dassl.engine.TrainerBase.train(self, start_epoch, max_epoch)
dassl.engine.TrainerBase.before_train(self)
dassl.engine.TrainerBase.after_train(self)
dassl.engine.TrainerBase.before_epoch(self)
dassl.engine.TrainerBase.after_epoch(self)
dassl.engine.TrainerBase.run_epoch(self)
dassl.engine.TrainerBase.test(self)
dassl.engine.TrainerBase.parse_batch_train(self, batch)
dassl.engine.TrainerBase.parse_batch_test(self, batch)
dassl.engine.TrainerBase.forward_backward(self, batch)
dassl.engine.TrainerBase.model_inference(self, input)
dassl.engine.TrainerBase.model_zero_grad(self, names=None)
dassl.engine.TrainerBase.model_backward(self, loss)
dassl.engine.TrainerBase.model_update(self, names=None)
dassl.engine.TrainerBase.model_backward_and_update(self, loss, names=None)
dassl.engine.TrainerBase.prograd_backward_and_update(self, loss_a, loss_b, lambda_=1, names=None)
dassl.engine.SimpleTrainer.__init__(self, cfg)
dassl.engine.SimpleTrainer.check_cfg(self, cfg)
dassl.engine.SimpleTrainer.build_data_loader(self)
dassl.engine.SimpleTrainer.build_model(self)
dassl.engine.SimpleTrainer.train(self)
dassl.engine.SimpleTrainer.test(self, split=None)
dassl.engine.SimpleTrainer.model_inference(self, input)
dassl.engine.SimpleTrainer.parse_batch_test(self, batch)
dassl.engine.SimpleTrainer.get_current_lr(self, names=None)
dassl.engine.TrainerX.run_epoch(self)
dassl.engine.TrainerX.parse_batch_train(self, batch)
dassl.engine.TrainerXU.run_epoch(self)
dassl.engine.TrainerXU.parse_batch_train(self, batch_x, batch_u)
dassl.engine.SimpleNet.__init__(self, cfg, model_cfg, num_classes, **kwargs)
dassl.data.DataManager.__init__(self, cfg, custom_tfm_train=None, custom_tfm_test=None,
 dataset_wrapper=None)
dassl.data.DatasetWrapper.__init__(self, cfg, data_source, transform=None, is_train=False)
dassl.data.data_manager.build_data_loader(cfg, sampler_type='SequentialSampler', data_source=None,
 batch_size=64, n_domain=0, n_ins=2, tfm=None, is_train=True, dataset_wrapper=None)
dassl.data.datasets.build_dataset(cfg)
dassl.data.datasets.Datum.__init__(self, impath='', label=0, domain=0, classname='')
dassl.data.datasets.DatasetBase.__init__(self, train_x=None, train_u=None, val=None, test=None)
dassl.data.datasets.DatasetBase.generate_fewshot_dataset(self, *data_sources, num_shots=-1,
 repeat=False)
dassl.data.datasets.DatasetBase.split_dataset_by_label(self, data_source)
dassl.data.datasets.DatasetBase.split_dataset_by_domain(self, data_source)
dassl.data.datasets.DatasetBase.check_input_domains(self, source_domains, target_domains)
dassl.data.transforms.build_transform(cfg, is_train=True, choices=None)
dassl.data.samplers.build_sampler(sampler_type, cfg=None, data_source=None, batch_size=32,
 n_domain=0, n_ins=16)
dassl.data.samplers.RandomDomainSampler.__init__(self, data_source, batch_size, n_domain)
dassl.data.samplers.SeqDomainSampler.__init__(self, data_source, batch_size)
dassl.data.samplers.RandomClassSampler.__init__(self, data_source, batch_size, n_ins)
dassl.evaluation.build_evaluator(cfg, **kwargs)
dassl.evaluation.EvaluatorBase.__init__(self, cfg)
dassl.evaluation.Classification.__init__(self, cfg, lab2cname=None, **kwargs)
dassl.evaluation.Classification.process(self, mo, gt)
dassl.metrics.compute_accuracy(output, target, topk=(1,))
dassl.metrics.compute_distance_matrix(input1, input2, metric='euclidean')
dassl.modeling.build_backbone(name, verbose=True, **kwargs)
dassl.modeling.build_head(name, verbose=True, **kwargs)
dassl.modeling.build_network(name, verbose=True, **kwargs)
dassl.modeling.ops.MixStyle.__init__(self, p=0.5, alpha=0.1, eps=1e-06, mix='random')
dassl.modeling.ops.mixup(x1, x2, y1, y2, beta, preserve_order=False)
dassl.modeling.ops.sharpen_prob(p, temperature=2)
dassl.modeling.ops.ema_model_update(model, ema_model, alpha)
dassl.optim.build_optimizer(model, optim_cfg, param_groups=None)
dassl.optim.build_lr_scheduler(optimizer, optim_cfg)
dassl.optim.lr_scheduler.ConstantWarmupScheduler.__init__(self, optimizer, successor, warmup_epoch,
 cons_lr, last_epoch=-1, verbose=False)
dassl.optim.lr_scheduler.LinearWarmupScheduler.__init__(self, optimizer, successor, warmup_epoch,
 min_lr, last_epoch=-1, verbose=False)
dassl.optim.radam.RAdam.__init__(self, params, lr=0.001, betas=(0.9, 0.999), eps=1e-08,
 weight_decay=0, degenerated_to_sgd=True)
dassl.utils.Registry.__init__(self, name)
dassl.utils.Registry.register(self, obj=None, force=False)
dassl.utils.Registry.get(self, name)
dassl.utils.Registry.registered_names(self)
dassl.utils.setup_logger(output=None)
dassl.utils.set_random_seed(seed)
dassl.utils.collect_env_info()
dassl.utils.mkdir_if_missing(dirname)
dassl.utils.check_isfile(fpath)
dassl.utils.read_json(fpath)
dassl.utils.write_json(obj, fpath)
dassl.utils.listdir_nohidden(path, sort=False)
dassl.utils.get_most_similar_str_to_a_from_b(a, b)
dassl.utils.check_availability(requested, available)
dassl.utils.tolist_if_not(x)
dassl.utils.download_url(url, dst)
dassl.utils.read_image(path)
dassl.utils.save_checkpoint(state, save_dir, is_best=False, remove_module_from_keys=True,
 model_name='')
dassl.utils.load_checkpoint(fpath)
dassl.utils.resume_from_checkpoint(fdir, model, optimizer=None, scheduler=None)
dassl.utils.load_pretrained_weights(model, weight_path)
dassl.utils.count_num_param(model=None, params=None)
dassl.utils.open_specified_layers(model, open_layers)
dassl.utils.open_all_layers(model)
dassl.utils.init_network_weights(model, init_type='normal', gain=0.02)
dassl.utils.AverageMeter.__init__(self, ema=False)
dassl.utils.AverageMeter.update(self, val, n=1)
dassl.utils.MetricMeter.__init__(self, delimiter=' ')
dassl.utils.MetricMeter.update(self, input_dict)
dassl.config.get_cfg_default()
dassl.config.clean_cfg(cfg, trainer)
"""
LINES = SIGNATURES.strip().replace("\n ", " ").splitlines()


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[f"{m}.{n}" for m, n in NAMES])
def test_name_can_be_imported(module, name):
    assert hasattr(importlib.import_module(module), name)


def lookup(dotted):
    parts = dotted.split(".")
    for length in range(len(parts) - 1, 0, -1):  # a function may be named as its module
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AssertionError(dotted)


@pytest.mark.parametrize("line", LINES, ids=[line.split("(")[0] for line in LINES])
def test_parameters_are_upstreams(line):
    """Ours may have more parameters behind upstream's, if they have defaults."""
    name, arguments = line.split("(", 1)
    expected = ast.parse(f"def f({arguments[:-1]}): pass").body[0].args
    actual = list(inspect.signature(lookup(name)).parameters.values())
    open_ended = [p for p in actual if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    assert {p.name for p in open_ended} >= {
        a.arg for a in (expected.vararg, expected.kwarg) if a is not None
    }
    plain = [p for p in actual if p.kind is p.POSITIONAL_OR_KEYWORD]
    wanted = [a.arg for a in expected.args]
    assert [p.name for p in plain[: len(wanted)]] == wanted
    defaults = [ast.literal_eval(d) for d in expected.defaults]
    first = len(wanted) - len(defaults)
    for parameter, default in zip(plain[first : len(wanted)], defaults, strict=True):
        assert parameter.default == default and type(parameter.default) is type(default)
    for parameter in plain[:first]:
        assert parameter.default is parameter.empty
    for extra in plain[len(wanted) :]:
        assert extra.default is not extra.empty
    by_name = {p.name: p for p in actual}
    for argument, default in zip(expected.kwonlyargs, expected.kw_defaults, strict=True):
        assert by_name[argument.arg].default == ast.literal_eval(default)


def python(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_importing_the_engine_registers_upstreams_names_only():
    names = python(
        "from dassl.engine import TRAINER_REGISTRY as T\n"
        "from dassl.data.datasets import DATASET_REGISTRY as D\n"
        "print(*T.registered_names(), '|', *D.registered_names())"
    )
    upstream = set(
        "MCD DANN MME ADDA DAEL M3SDA SourceOnly AdaBN SelfEnsembling CDAC Vanilla CrossGrad DDAIG "
        "DAELDG DomainMix SupBaseline EntMin MeanTeacher MixMatch FixMatch".split()
    )
    trainers, datasets = names[: names.index("|")], names[names.index("|") + 1 :]
    assert {"Vanilla", "DomainMix", "DANN", "FixMatch"} <= set(trainers) <= upstream
    assert datasets == []


def test_importing_the_engine_imports_no_clip_and_nothing_of_ours():
    loaded = python(
        "import sys, dassl.engine, dassl.data, dassl.modeling, dassl.evaluation, dassl.metrics\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    unwanted = {"clip", "open_clip", "timm", "trainers", "datasets", "app", "tools", "wilds"}
    unwanted |= {"sklearn", "pandas", "matplotlib", "tensorboard"}  # slow; loaded when needed
    assert not unwanted & set(loaded)


def test_import_dassl_alone_is_light():
    assert python("import sys, dassl\nprint('torch' in sys.modules, dassl.__version__)") == [
        "False",
        importlib.import_module("dassl").__version__,
    ]


def test_pkg_resources_stand_in_only_where_the_real_one_is_absent(monkeypatch):
    import types

    from dassl import _compat

    real = types.ModuleType("pkg_resources")
    monkeypatch.setitem(sys.modules, "pkg_resources", real)
    assert _compat.supply_pkg_resources() is False
    assert sys.modules["pkg_resources"] is real
    monkeypatch.delitem(sys.modules, "pkg_resources")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert _compat.supply_pkg_resources() is True
    namespace: dict[str, object] = {}
    exec("from pkg_resources import packaging", namespace)  # as clip.py does
    packaging = namespace["packaging"]
    assert packaging.version.parse("2.4.0") > packaging.version.parse("1.7.1")
    monkeypatch.delitem(sys.modules, "pkg_resources")
