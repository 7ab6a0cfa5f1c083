#ifndef HF_SANDBOX_DETAIL_SIGNAL_HOLD_HPP
#define HF_SANDBOX_DETAIL_SIGNAL_HOLD_HPP

#include <csignal>

namespace hf::detail {

/// The signals by which a terminal or a user ends a program.
template <class = void>
[[nodiscard]] sigset_t ending_signals() noexcept {
  sigset_t signals;
  sigemptyset(&signals);
  for (int const number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT})
    sigaddset(&signals, number);
  return signals;
}

/// Holds the signals that usually end a program back from the calling thread for a few
/// milliseconds: Ctrl-C between making a directory and starting the process that will remove it
/// would leave the directory behind. What has come meanwhile is delivered at the end.
template <class = void>
class basic_signal_hold {
 public:
  basic_signal_hold() noexcept {
    sigset_t const held = ending_signals();
    ::pthread_sigmask(SIG_BLOCK, &held, &before_);
  }
  basic_signal_hold(basic_signal_hold const&) = delete;
  basic_signal_hold& operator=(basic_signal_hold const&) = delete;
  ~basic_signal_hold() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};
using signal_hold = basic_signal_hold<>;

}  // namespace hf::detail

#endif
