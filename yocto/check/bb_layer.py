"""The layer in the hands of BitBake's own parser, with next to nothing of OpenEmbedded around it."""

import logging
import sys
import types
from pathlib import Path

# The servers that the library would talk to in a build. Nothing is built here.
for name in ("hashserv", "hashserv.client", "prserv"):
    sys.modules.setdefault(name, types.ModuleType(name))

import bb
import bb.codeparser
import bb.data
import bb.fetch2
import bb.parse
import bb.siggen

HERE = Path(__file__).resolve().parent
LAYER = HERE.parent / "meta-tandem"
sys.path.append(str(LAYER / "lib"))

# Classes of OpenEmbedded that the layer inherits; what is in them does not matter for what is checked.
CLASSES = ("base", "cargo", "core-image", "deploy", "native", "nativesdk", "systemd")


class Refused(Exception):
    """The parser has ended with an error, or the recipe cannot be had; the text says why."""


class _Messages(logging.Handler):
    def __init__(self):
        super().__init__(logging.INFO + 1)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


class Layer:
    """The layer's configuration; `work` is a directory for what the parser wants to find."""

    def __init__(self, work):
        classes = work / "classes-recipe"
        classes.mkdir(parents=True, exist_ok=True)
        for name in CLASSES:
            # What the layer appends to or overrides must be there.
            functions = {"base": ("do_configure", "do_install"), "cargo": ("oe_cargo_fix_env",)}.get(name, ())
            text = {"cargo": 'BUILD_MODE = "--release"\nBUILD_DIR = "release"\n'}.get(name, "")
            text += "".join(f"{function} () {{\n\t:\n}}\n" for function in functions)
            (classes / f"{name}.bbclass").write_text(text)
        conf = work / "conf"
        conf.mkdir(exist_ok=True)
        (conf / "image-uefi.conf").write_text("")
        self.messages = _Messages()
        logger = logging.getLogger("BitBake")
        logger.addHandler(self.messages)
        logger.propagate = False
        d = bb.data.init()
        d.setVar("TOPDIR", str(work))
        d.setVar("BBPATH", str(work))
        d.setVar("__bbclasstype", "recipe")
        d.setVar("BB_GLOBAL_PYMODULES", "os sys time")
        d = bb.parse.handle(str(HERE / "stub.conf"), d, True)
        d.setVar("LAYERDIR", str(LAYER))
        d = bb.parse.handle(str(LAYER / "conf/layer.conf"), d, True, True)
        d.expandVarref("LAYERDIR")
        bb.parse.BBHandler.inherit("base", "stub.conf", 0, d)
        bb.parse.init_parser(d)
        self.base = d

    def recipe(self, path, settings=None, board=None, variant="", appends=()):
        """The data of a recipe of the layer, parsed with these settings."""
        d = bb.data.createCopy(self.base)
        if board:
            d = bb.parse.handle(str(LAYER / f"conf/fragments/board/{board}.conf"), d, True)
        for name, value in (settings or {}).items():
            d.setVar(name, value)
        self.messages.texts.clear()
        path = str(LAYER / path)  # an absolute path stays what it is
        d.setVar("FILE", path)
        d.setVar("__BBAPPEND", " ".join(str(LAYER / append) for append in appends))
        try:
            found = bb.parse.handle(path, d)[variant]
        except (bb.BBHandledException, bb.parse.ParseError, bb.data_smart.ExpansionError) as wrong:
            raise Refused("\n".join([*self.messages.texts, str(wrong)])) from wrong
        if found.getVar("__SKIPPED"):
            raise Refused(found.getVar("__SKIPPED"))
        return found
