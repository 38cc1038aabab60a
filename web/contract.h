// openapi.yaml as JSON, embedded at build.
#pragma once
#include <string_view>

namespace mailhaul::web {

std::string_view contract();

}  // namespace mailhaul::web
