#ifndef HF_SANDBOX_AGENT_FILES_FILESYSTEM_HPP
#define HF_SANDBOX_AGENT_FILES_FILESYSTEM_HPP

namespace hf::agent {

/// Whether an open descriptor lies on a file system that the kernel makes up (procfs, sysfs, cgroup
/// and their like): sizes say nothing there, and files are written with one call, never renamed.
bool is_kernel_filesystem(int fd);

}  // namespace hf::agent

#endif
