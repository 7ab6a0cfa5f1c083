#ifndef HF_SANDBOX_AGENT_CONFINE_MOUNTS_HPP
#define HF_SANDBOX_AGENT_CONFINE_MOUNTS_HPP

#include "confine/report.hpp"

#include <cstdint>
#include <string>

namespace hf::agent::confine {

/// What a mount is for.
enum class access { read_only, read_write, device };

/// Shows `source`, with what is mounted below it, at `target`: never with set-uid programs, never
/// with devices but for `access::device`.
void bind_mount(std::string const& source, std::string const& target, access how,
                report const& status);

/// The same by descriptors (O_PATH): what is mounted and where are those, whatever their names have
/// become. `name` is the source for error messages.
void mount_tree(int source, int target, std::string const& name, access how, report const& status);

/// Mounts a new file system of this type; returns 0 or an error number.
[[nodiscard]] int mount_new(char const* type, std::string const& target, unsigned long flags,
                            std::string const& options);

}  // namespace hf::agent::confine

#endif
