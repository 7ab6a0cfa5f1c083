#ifndef HF_SANDBOX_DETAIL_PROCESS_ID_HPP
#define HF_SANDBOX_DETAIL_PROCESS_ID_HPP

#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace hf::detail {

/// Tells a process from the children that it forks. Where there is no fork, always the same.
inline long process_id() noexcept {
#if defined(_WIN32)
  return 0;
#else
  return ::getpid();
#endif
}

}  // namespace hf::detail

#endif
