// The table of the REST API.
#pragma once
#include <span>

#include "web/api.h"

namespace mailhaul::web {

std::span<const Route> all_routes();

}  // namespace mailhaul::web
