"""`import tlfeat` is instant, and every public name is there."""

import json
import subprocess
import sys
from types import ModuleType

import pytest

import tlfeat


@pytest.mark.parametrize("name", tlfeat.__all__)
def test_every_public_name_can_be_had_and_is_documented(name):
    assert getattr(tlfeat, name).__doc__


def test_no_public_name_is_hidden_by_a_module():
    # once a package is imported, Python makes it an attribute: a name must be one or the other
    import tlfeat.finetuning.train

    for name in tlfeat.__all__:
        assert not isinstance(getattr(tlfeat, name), ModuleType), name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        tlfeat.nothing  # noqa: B018


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, json, tlfeat; "
        "print(json.dumps(sorted({'numpy', 'sklearn', 'tensorflow'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == []
