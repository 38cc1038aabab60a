// The password of a source, from where its owner has put it.
#pragma once
#include <string>

#include "collector/job.h"

namespace mailhaul::collector {

// The file, else the environment, else the terminal. One line; its end does not belong to the password.
Result<Secret> password(const std::string& file, const SourceAddress& source);

}  // namespace mailhaul::collector
