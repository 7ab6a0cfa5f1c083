#ifndef HF_SANDBOX_AGENT_HTTP_ERROR_LOG_HPP
#define HF_SANDBOX_AGENT_HTTP_ERROR_LOG_HPP

#include <chrono>
#include <cstdint>
#include <string_view>

namespace hf::agent {

/// One line a call on standard error; a flood is counted instead of written.
class error_log {
 public:
  /// Writes "hf-sandbox-agent: <what>". Never pass anything that came from a caller unchecked.
  void line(std::string_view what);

 private:
  static constexpr int burst = 20;
  std::chrono::steady_clock::time_point window_{};
  int written_ = 0;
  std::uint64_t suppressed_ = 0;
};

}  // namespace hf::agent

#endif
