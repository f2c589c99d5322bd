"""`import tlfeat` is instant, and every public name is there."""

import json
import subprocess
import sys

import pytest

import tlfeat


@pytest.mark.parametrize("name", tlfeat.__all__)
def test_every_public_name_can_be_had_and_is_documented(name):
    assert getattr(tlfeat, name).__doc__


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
