#ifndef HF_SANDBOX_AGENT_FILES_REMOVE_HPP
#define HF_SANDBOX_AGENT_FILES_REMOVE_HPP

#include "files/root.hpp"

#include <string>
#include <string_view>

namespace hf::agent {

/// Deletes a file, link or directory, with all it holds when `recursive`; never follows a link.
/// Memory and open descriptors are bounded, whatever the depth. Returns the absolute path; throws
/// `http_error`.
std::string remove_file(file_root const& root, std::string_view path, bool recursive);

}  // namespace hf::agent

#endif
