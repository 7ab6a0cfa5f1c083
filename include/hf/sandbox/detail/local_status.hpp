#ifndef HF_SANDBOX_DETAIL_LOCAL_STATUS_HPP
#define HF_SANDBOX_DETAIL_LOCAL_STATUS_HPP

#include <hf/sandbox/detail/local_state.hpp>
#include <hf/sandbox/detail/stop_token.hpp>
#include <hf/sandbox/detail/unique_fd.hpp>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace hf::detail {

/// Reads what an agent says on its status pipe while it starts; `report.hpp` of the agent writes
/// it.
template <class = void>
class basic_local_status {
 public:
  using clock = std::chrono::steady_clock;

  explicit basic_local_status(unique_fd pipe) : pipe_(std::move(pipe)) {}

  enum class outcome { running, ready, denied, failed, ended };

  /// Waits until it is clear how the start went; `running` means that the deadline came first or a
  /// stop was asked for.
  [[nodiscard]] outcome wait_until_decided(clock::time_point deadline, stop_token const& stop) {
    unique_fd const wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    auto const on_stop = [&wake] {
      std::uint64_t const one = 1;
      [[maybe_unused]] auto const n = ::write(wake.get(), &one, sizeof one);
    };
    stop_callback<decltype(on_stop)> const registration(stop, on_stop);
    while (outcome_ == outcome::running && !stop.stop_requested()) {
      auto const left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock::now()).count();
      if (left <= 0)
        break;
      pollfd watched[] = {{pipe_.get(), POLLIN, 0}, {wake.get(), POLLIN, 0}};
      int const slice = static_cast<int>((std::min)(left, decltype(left){60'000}));
      if (::poll(watched, 2, slice) > 0 && watched[0].revents != 0)
        read();
    }
    return outcome_;
  }

  /// Waits until the keeper is gone; false when the deadline came first.
  bool wait_until_gone(clock::time_point deadline) {
    while (!at_end_) {
      auto const left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock::now()).count();
      if (left <= 0)
        return false;
      pollfd watched{pipe_.get(), POLLIN, 0};
      if (::poll(&watched, 1, static_cast<int>((std::min)(left, decltype(left){60'000}))) > 0)
        read();
    }
    return true;
  }

  /// What is clear by now; does not block.
  [[nodiscard]] outcome decided() const noexcept { return outcome_; }

  /// Whether the agent or its keeper has ended; does not block.
  [[nodiscard]] bool over() {
    read();
    return at_end_ || in_log_;
  }

  /// The keeper's process number; 0 while it is not known.
  [[nodiscard]] pid_t keeper() const noexcept { return keeper_; }
  /// Why it was denied or failed.
  [[nodiscard]] std::string const& reason() const noexcept { return reason_; }
  /// The last lines that the agent printed, as far as they came; no more than 32 KiB.
  [[nodiscard]] std::string const& log() const noexcept { return log_; }

 private:
  static constexpr std::size_t kept_log = 16 * 1024;
  static constexpr std::size_t longest_line = 64 * 1024;

  void read() {
    char buffer[4096];
    // Not without end: a program that is no agent may print faster than it is read.
    for (int left = 64; left > 0; --left) {
      auto const n = ::read(pipe_.get(), buffer, sizeof buffer);
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && errno == EAGAIN)
        return;
      if (n <= 0) {
        at_end_ = true;
        if (outcome_ == outcome::running)
          outcome_ = outcome::ended;
        return;
      }
      text_.append(buffer, static_cast<std::size_t>(n));
      take_lines();
    }
  }

  void take_lines() {
    while (!in_log_) {
      auto const end = text_.find('\n');
      if (end == std::string::npos && text_.size() < longest_line)
        return;
      if (end == std::string::npos)
        break;
      take_line(text_.substr(0, end));
      text_.erase(0, end + 1);
    }
    remember(text_);
    text_.clear();
  }

  void remember(std::string const& text) {
    log_ += text;
    if (log_.size() > 2 * kept_log)
      log_.erase(0, log_.size() - kept_log);
  }

  void take_line(std::string const& line) {
    auto const space = line.find(' ');
    auto const word = line.substr(0, space);
    auto const rest = space == std::string::npos ? std::string() : line.substr(space + 1);
    if (word == "keeper") {
      keeper_ = static_cast<pid_t>(std::strtol(rest.c_str(), nullptr, 10));
    } else if (word == "ready") {
      if (outcome_ == outcome::running)
        outcome_ = outcome::ready;
    } else if (word == "denied" || word == "failed") {
      outcome_ = word == "denied" ? outcome::denied : outcome::failed;
      reason_ = rest;
    } else if (word == "log") {
      in_log_ = true;
      if (outcome_ == outcome::running)
        outcome_ = outcome::ended;
    } else {
      remember(line + "\n");  // the program printed something that is not of this protocol
    }
  }

  unique_fd pipe_;
  std::string text_;
  std::string reason_;
  std::string log_;
  pid_t keeper_ = 0;
  outcome outcome_ = outcome::running;
  bool in_log_ = false;
  bool at_end_ = false;
};
using local_status = basic_local_status<>;

}  // namespace hf::detail

#endif
