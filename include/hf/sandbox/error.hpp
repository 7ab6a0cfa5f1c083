#ifndef HF_SANDBOX_ERROR_HPP
#define HF_SANDBOX_ERROR_HPP

#include <hf/sandbox/detail/printable.hpp>

#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace hf {

/// What went wrong: one code per kind of failure, whichever part noticed it.
///
/// The names (`to_string`) also travel on the wire, in the `code` field of the agent's errors.
enum class errc {
  /// The caller passed something that can never work (an empty command, a NUL byte, a bad number).
  invalid_argument = 1,
  /// The transport, launcher, agent or platform cannot do what was asked for; the text names it.
  unsupported,

  /// No credential was found, or the server does not accept the one it was given.
  unauthenticated,
  /// The credential is valid but not good for this.
  permission_denied,
  /// The sandbox, job, container, image, path, process or port does not exist.
  not_found,
  /// The target is in a state that forbids the call (an operation id reused with another body).
  conflict,
  /// The account has no credit or quota left.
  quota_exceeded,
  /// Too many requests; try again after the time that the error names.
  rate_limited,
  /// Network use is switched off (`HF_HUB_OFFLINE`).
  offline,

  /// The host name could not be resolved.
  resolve_failed,
  /// No connection could be made (refused, unreachable, no such socket).
  connect_failed,
  /// TLS could not be set up, or the peer's certificate was refused.
  tls_failed,
  /// A connect, stall or deadline timeout of one request ran out.
  request_timed_out,
  /// An established connection broke before the answer was complete.
  connection_lost,
  /// The caller's stop token asked for an end.
  cancelled,
  /// The peer sent something that is not HTTP/1.1 or not the protocol spoken here.
  protocol_error,
  /// A call with side effects broke off and nobody can tell whether it took effect.
  outcome_unknown,

  /// The machine could not be started.
  launch_failed,
  /// The machine did not become ready within `start_timeout`.
  start_timed_out,
  /// The sandbox has ended: its lifetime or idle time ran out, or it was terminated.
  sandbox_expired,
  /// The agent binary was not found in any of the places looked at.
  agent_not_found,
  /// The requested isolation is not available on this machine.
  isolation_unavailable,

  /// The command could not be started (unknown program, bad working directory, limits).
  exec_failed,
  /// The command ended with a non-zero exit code or a signal (`result::check`).
  command_failed,
  /// The command ran longer than its own timeout and was killed (`result::check`).
  command_timed_out,
  /// The agent does not know this operation id, for instance because it was restarted.
  op_unknown,
  /// Output that was asked for is no longer kept by the agent.
  output_gone,
  /// More output than `exec_options::capture_limit` allows, with `capture_overflow::fail`.
  output_limit,

  /// The path is a directory, but a file is needed.
  is_directory,
  /// The path is not a directory, but one is needed.
  not_directory,
  /// The path is neither a regular file nor a directory (FIFO, device, socket).
  not_regular,
  /// The directory is not empty.
  not_empty,
  /// No space is left on the device, or a quota is used up.
  no_space,
  /// Another input/output error of a file operation; the text has the system's reason.
  io_error,
  /// The request or the answer is larger than the limit named in the text.
  too_large,
  /// The machine is out of processes, descriptors or memory; the request had no effect.
  resource_exhausted,
  /// The server failed in a way that has no code of its own (5xx).
  server_error,
  /// A defect of this library or of the agent.
  internal,
};

namespace detail {
inline constexpr std::string_view errc_names[] = {"success",
                                                  "invalid_argument",
                                                  "unsupported",
                                                  "unauthenticated",
                                                  "permission_denied",
                                                  "not_found",
                                                  "conflict",
                                                  "quota_exceeded",
                                                  "rate_limited",
                                                  "offline",
                                                  "resolve_failed",
                                                  "connect_failed",
                                                  "tls_failed",
                                                  "request_timed_out",
                                                  "connection_lost",
                                                  "cancelled",
                                                  "protocol_error",
                                                  "outcome_unknown",
                                                  "launch_failed",
                                                  "start_timed_out",
                                                  "sandbox_expired",
                                                  "agent_not_found",
                                                  "isolation_unavailable",
                                                  "exec_failed",
                                                  "command_failed",
                                                  "command_timed_out",
                                                  "op_unknown",
                                                  "output_gone",
                                                  "output_limit",
                                                  "is_directory",
                                                  "not_directory",
                                                  "not_regular",
                                                  "not_empty",
                                                  "no_space",
                                                  "io_error",
                                                  "too_large",
                                                  "resource_exhausted",
                                                  "server_error"};
}  // namespace detail

/// The code's name, as it stands in `errc`; "internal" for anything else.
[[nodiscard]] constexpr std::string_view to_string(errc code) noexcept {
  auto const index = static_cast<std::size_t>(code);
  return index < std::size(detail::errc_names) ? detail::errc_names[index] : "internal";
}

/// The code with this name; `errc::internal` for an unknown one.
[[nodiscard]] constexpr errc errc_from_string(std::string_view name) noexcept {
  for (std::size_t i = 1; i < std::size(detail::errc_names); ++i)
    if (detail::errc_names[i] == name)
      return static_cast<errc>(i);
  return errc::internal;
}

/// The category of `hf::errc`; its name is "hf.sandbox".
[[nodiscard]] inline std::error_category const& error_category() noexcept {
  class category final : public std::error_category {
   public:
    [[nodiscard]] char const* name() const noexcept override { return "hf.sandbox"; }
    [[nodiscard]] std::string message(int value) const override {
      return std::string(to_string(static_cast<errc>(value)));
    }
  };
  static category const instance;
  return instance;
}

/// Makes `hf::errc` usable as a `std::error_code`.
[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept {
  return {static_cast<int>(code), error_category()};
}

/// Which part of the way noticed the failure.
enum class hop { client, hub, jobs_proxy, docker, agent };

/// The name of a hop.
[[nodiscard]] constexpr std::string_view to_string(hop where) noexcept {
  switch (where) {
    case hop::client:
      return "client";
    case hop::hub:
      return "hub";
    case hop::jobs_proxy:
      return "jobs_proxy";
    case hop::docker:
      return "docker";
    case hop::agent:
      return "agent";
  }
  return "client";
}

/// Whether doing the same again can help and can do no harm.
enum class retry_advice { no, yes, only_with_same_operation_id };

/// What an `hf::error` knows beside its code and text.
struct error_details {
  /// HTTP status of the answer; 0 when there was none.
  int http_status = 0;
  /// The part that noticed.
  hop where = hop::client;
  /// The server's id for the request, for support questions; empty when it sent none.
  std::string request_id = {};
  /// Whether a repetition can help.
  retry_advice retry = retry_advice::no;
  /// Seconds after which the server wants to be asked again; negative when it did not say.
  double retry_after_s = -1;
  /// Whether any byte of the request may have reached the peer.
  bool may_have_reached_peer = false;
  /// The step of starting a command that failed (`chdir`, `exec`, `limits`, `user`, ...) or, in a
  /// `launch_error`, of starting a machine; else empty.
  std::string stage = {};
  /// The system's error number behind the failure; 0 when there is none.
  int system_error = 0;
};

/// The base of everything this library throws on purpose.
///
/// `what()` is one sentence for people, without any secret; `code()` is the `errc` for programs.
/// Control characters and bytes that are not UTF-8 are escaped in every text, whoever said it.
/// Copying does not throw.
class error : public std::system_error {
 public:
  /// An error with a code, a sentence and what else is known.
  template <class = void>
  error(errc code, std::string message, error_details details = {})
      : error(code, std::move(message), std::move(details), {}) {}

  /// One sentence for people, without any secret.
  [[nodiscard]] char const* what() const noexcept override { return state_->message.c_str(); }
  /// The code as the enumeration.
  [[nodiscard]] errc kind() const noexcept { return static_cast<errc>(code().value()); }
  /// Everything beside code and text.
  [[nodiscard]] error_details const& details() const noexcept { return state_->details; }
  /// HTTP status of the answer; 0 when there was none.
  [[nodiscard]] int http_status() const noexcept { return state_->details.http_status; }
  /// The part that noticed.
  [[nodiscard]] hf::hop hop() const noexcept { return state_->details.where; }
  /// The server's id for the request; empty when it sent none.
  [[nodiscard]] std::string const& request_id() const noexcept {
    return state_->details.request_id;
  }
  /// Whether doing the same again can help.
  [[nodiscard]] retry_advice retry() const noexcept { return state_->details.retry; }
  /// Whether any byte of the request may have reached the peer.
  [[nodiscard]] bool may_have_reached_peer() const noexcept {
    return state_->details.may_have_reached_peer;
  }

 private:
  friend class launch_error;

  struct state {
    std::string message;
    error_details details;
    std::string log_tail;
  };

  template <class = void>
  error(errc code, std::string message, error_details details, std::string const& log_tail)
      : std::system_error(make_error_code(code)),
        state_(std::make_shared<state const>(state{detail::printable(std::move(message)),
                                                   printable_details(std::move(details)),
                                                   detail::printable(log_tail)})) {}

  template <class = void>
  static error_details printable_details(error_details details) {
    details.request_id = detail::printable(std::move(details.request_id));
    details.stage = detail::printable(std::move(details.stage));
    return details;
  }
  [[nodiscard]] std::string const& last_lines() const noexcept { return state_->log_tail; }

  std::shared_ptr<state const> state_;
};

/// A machine that could not be started: says how far it came and what it printed last.
class launch_error : public error {
 public:
  /// `stage` is the launcher's name of the step; `log_tail` the machine's last lines (may be
  /// empty).
  template <class = void>
  launch_error(errc code, std::string const& message, std::string stage,
               std::string const& log_tail, error_details details = {})
      : error(code, log_tail.empty() ? message : message + "\n" + log_tail,
              at_stage(std::move(details), std::move(stage)), log_tail) {}

  /// The step that failed (for instance "schedule", "start", "ready").
  [[nodiscard]] std::string const& stage() const noexcept { return details().stage; }
  /// The last lines that the machine printed; empty when there are none.
  [[nodiscard]] std::string const& log_tail() const noexcept { return last_lines(); }

 private:
  template <class = void>
  static error_details at_stage(error_details details, std::string stage) {
    details.stage = std::move(stage);
    return details;
  }
};

}  // namespace hf

template <>
struct std::is_error_code_enum<hf::errc> : std::true_type {};

#endif
