"""The PyTorch model that a word of a command line names.

    my_models.py:teacher                            what a callable of a file returns
    torchvision.models:resnet18                     of a module that can be imported
    torchvision.models:vit_b_16(image_size=32)      with literal keyword arguments
"""

import ast
import importlib
import importlib.util
import os
import sys

import torch

from .values import ExportError


def split(word, who):
    """(file or module, callable's name, keyword arguments)"""
    where, colon, call = word.partition(":")
    try:
        tree = ast.parse(call, mode="eval").body if colon and where else None
        if isinstance(tree, ast.Name):
            return where, tree.id, {}
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.args and all(
                k.arg for k in tree.keywords):
            return where, tree.func.id, {k.arg: ast.literal_eval(k.value) for k in tree.keywords}
    except (SyntaxError, ValueError):
        pass
    raise ExportError("%s '%s': expected FILE.py:CALLABLE or MODULE:CALLABLE, with literal "
                      "keyword arguments or none" % (who, word))


def imported(where, who, word):
    if not where.endswith(".py"):
        return importlib.import_module(where)
    if not os.path.isfile(where):
        raise ExportError("%s '%s': no file %s" % (who, word, where))
    folder = os.path.dirname(os.path.abspath(where))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location("export_" + who, where)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(word, who):
    """(module, names of its blocks or None): a list or ModuleList is a chain of blocks, and so is a
    Sequential."""
    where, name, arguments = split(word, who)
    try:
        module = imported(where, who, word)
        if not callable(getattr(module, name, None)):
            raise ExportError("%s '%s': %s has no callable %s" % (who, word, where, name))
        made = getattr(module, name)(**arguments)
    except ExportError:
        raise
    except (Exception, SystemExit) as e:         # what the user's file raises
        lines = str(e).strip().splitlines()
        raise ExportError("%s '%s': %s: %s"
                          % (who, word, type(e).__name__, lines[0] if lines else ""))
    if isinstance(made, (list, tuple, torch.nn.ModuleList)) and made and all(
            isinstance(m, torch.nn.Module) for m in made):
        made = torch.nn.Sequential(*made)
    if not isinstance(made, torch.nn.Module):
        raise ExportError("%s '%s': returned %s, expected a module or a list of them"
                          % (who, word, type(made).__name__))
    chain = [name
             for name, _ in made.named_children()] if type(made) is torch.nn.Sequential else None
    return made.float().cpu().eval(), chain
