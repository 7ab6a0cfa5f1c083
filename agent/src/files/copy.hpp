#ifndef HF_SANDBOX_AGENT_FILES_COPY_HPP
#define HF_SANDBOX_AGENT_FILES_COPY_HPP

#include <cstdint>

namespace hf::agent {

/// Copies the first `size` bytes of one file over those of another; errno, 0 for success. Space is
/// reserved first where the file system can, so that a full disk leaves the target as it was.
int copy_content(int from, int to, std::uint64_t size);

/// Copies extended attributes (access lists among them) as far as the system lets them be copied,
/// but for those that vouch for the old content (capabilities, integrity).
void copy_attributes(int from, int to);

}  // namespace hf::agent

#endif
