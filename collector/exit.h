// How a command ends: its exit status, and its complaint on standard error.
#pragma once
#include <cstdio>
#include <string>
#include <utility>

#include "protocols/base/result.h"

namespace mailhaul::collector {

enum Exit { kComplete = 0, kIncomplete = 1, kUsage = 2, kCouldNotRun = 3, kSignal = 128 };

inline Error usage(std::string what, std::string advice = "") {
  return {Scope::Service, Retry::AfterUserAction, std::move(what), std::move(advice)};
}

inline int complain(const Error& error, int code) {
  std::fprintf(stderr, "mailhaul: %s%s%s\n", error.what.c_str(), error.advice.empty() ? "" : "; ",
               error.advice.c_str());
  return code;
}

}  // namespace mailhaul::collector
