#ifndef HF_SANDBOX_AGENT_FILES_ENTRY_HPP
#define HF_SANDBOX_AGENT_FILES_ENTRY_HPP

#include "files/root.hpp"

#include <hf/sandbox/wire/files.hpp>

#include <sys/stat.h>

#include <string>
#include <string_view>

namespace hf::agent {

/// The wire's form of what `lstat` says.
wire::file_entry describe(std::string name, std::string path, struct stat const& st);

/// Describes the entry at `path`; a symbolic link is not followed. Throws `http_error`.
wire::file_entry stat_file(file_root const& root, std::string_view path);

}  // namespace hf::agent

#endif
