#include "collector/sync/run.h"

#include "collector/sync/engine.h"

namespace mailhaul::sync {

Result<Report> run(const RunSettings& settings, const RunContext& context) { return Engine(settings, context).go(); }

}  // namespace mailhaul::sync
