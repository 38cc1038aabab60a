// The password of a source, from where its owner has put it.
#pragma once
#include <string>

#include "collector/job.h"

namespace mailhaul::collector {

// The file, else the environment, else the terminal. One line; its end does not belong to the password.
struct Side {  // whose password it is
  const char* option;
  const char* variable;  // …_FILE names a file
};
inline constexpr Side kSourceSide{"--source-password-file", "MAILHAUL_SOURCE_PASSWORD"};
inline constexpr Side kDestinationSide{"--destination-password-file", "MAILHAUL_DESTINATION_PASSWORD"};
Result<Secret> password(const std::string& file, const SourceAddress& account, const Side& side = kSourceSide);

}  // namespace mailhaul::collector
