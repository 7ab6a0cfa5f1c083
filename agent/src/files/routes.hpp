#ifndef HF_SANDBOX_AGENT_FILES_ROUTES_HPP
#define HF_SANDBOX_AGENT_FILES_ROUTES_HPP

#include "context.hpp"
#include "files/root.hpp"
#include "http/exchange.hpp"
#include "http/router.hpp"

#include <functional>
#include <memory>
#include <string_view>

namespace hf::agent {

/// Where the paths of a request lead; throws `http_error` (a sandbox that does not exist).
using file_root_of = std::function<std::shared_ptr<file_root const>(exchange&)>;

/// Adds read, write, list, stat, delete and mkdir below `prefix` + "/files".
void add_files_routes(router& routes, context& shared, std::string_view prefix,
                      file_root_of root_of);

/// The same for a machine that is the sandbox: below "/v1", on all its files.
void add_files_routes(router& routes, context& shared);

/// The features that `/v1/info` names for files.
json files_features();

}  // namespace hf::agent

#endif
