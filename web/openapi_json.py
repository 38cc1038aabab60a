#!/usr/bin/env python3
"""openapi_json.py openapi.yaml OUT.cc: the contract as JSON, as one C++ source."""
import json
import sys

import yaml

with open(sys.argv[1], encoding="utf-8") as source:
    text = json.dumps(yaml.safe_load(source), ensure_ascii=False, separators=(",", ":"))
# A string literal may be too long for a compiler: it is cut into many that are one.
pieces = [text[at:at + 8000] for at in range(0, len(text), 8000)]
with open(sys.argv[2], "w", encoding="utf-8") as out:
    out.write('#include "web/contract.h"\n\nnamespace mailhaul::web {\nnamespace {\nconstexpr char kText[] =\n')
    out.write("\n".join('    R"contract(' + piece + ')contract"' for piece in pieces))
    out.write(";\n}\nstd::string_view contract() { return {kText, sizeof kText - 1}; }\n}  // namespace mailhaul::web\n")
