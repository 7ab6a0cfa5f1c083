#ifndef HF_SANDBOX_AGENT_FILES_FAILURE_HPP
#define HF_SANDBOX_AGENT_FILES_FAILURE_HPP

#include <string_view>

namespace hf::agent {

/// Throws the `http_error` for a system error: `verb` is "open", "write", "list", "stat", "delete"
/// or "mkdir", `shown` the path for people.
[[noreturn]] void throw_file_error(int number, std::string_view verb, std::string_view shown);

/// Throws the 400 for a FIFO, device or socket where a regular file is needed; `"kind"` says which.
[[noreturn]] void throw_not_regular(std::string_view verb, std::string_view shown, unsigned mode);

}  // namespace hf::agent

#endif
