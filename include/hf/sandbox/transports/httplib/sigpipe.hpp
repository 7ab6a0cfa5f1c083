#ifndef HF_SANDBOX_TRANSPORTS_HTTPLIB_SIGPIPE_HPP
#define HF_SANDBOX_TRANSPORTS_HTTPLIB_SIGPIPE_HPP

#if !defined(_WIN32)
#include <csignal>
#include <ctime>
#endif

namespace hf::detail {

/// Keeps SIGPIPE from this thread: cpp-httplib and OpenSSL write to sockets without MSG_NOSIGNAL,
/// and a library must not change what the program does with signals.
class sigpipe_guard {
 public:
#if defined(_WIN32)
  sigpipe_guard() = default;
#else
  sigpipe_guard() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~sigpipe_guard() {
    if (!was_pending_ && sigismember(&before_, SIGPIPE) == 0)
      consume();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  void consume() {
    sigset_t pending;
    sigpending(&pending);
    if (sigismember(&pending, SIGPIPE) != 1)
      return;
#if defined(__APPLE__)
    int taken = 0;
    sigwait(&pipe_, &taken);
#else
    timespec const now{0, 0};
    sigtimedwait(&pipe_, nullptr, &now);
#endif
  }

  sigset_t pipe_;
  sigset_t before_;
  bool was_pending_ = false;

 public:
#endif
  sigpipe_guard(sigpipe_guard const&) = delete;
  sigpipe_guard& operator=(sigpipe_guard const&) = delete;
};

}  // namespace hf::detail

#endif
