// The files of the dashboard, part of the binary. None when it was built with MAILHAUL_UI=OFF.
#pragma once

#include <span>
#include <string_view>

namespace mailhaul::web {

// `path` begins with a slash; the page itself is "/index.html". `immutable`: the name changes with the content, so the
// answer may be kept for ever. `etag` has its quotes. `gzip` and `brotli` are empty where they would not be smaller.
struct Asset {
  std::string_view path, mime, etag;
  bool immutable;
  std::string_view identity, gzip, brotli;
};

// Sorted by path; lives as long as the program.
std::span<const Asset> assets();

}  // namespace mailhaul::web
