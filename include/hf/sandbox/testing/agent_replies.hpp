#ifndef HF_SANDBOX_TESTING_AGENT_REPLIES_HPP
#define HF_SANDBOX_TESTING_AGENT_REPLIES_HPP

#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/wire/events.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/processes.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace hf::testing {

/// What an agent answers to `exec` of a command with this output and exit code: for
/// `expect("POST", "/v1/exec").reply_with(exec_reply("2\n"))`, or to build other answers from.
class exec_reply {
 public:
  /// A run that printed this and ended with this code.
  explicit exec_reply(std::string out = {}, std::string err = {}, int exit_code = 0)
      : out_(std::move(out)), err_(std::move(err)), exit_code_(exit_code) {}

  /// The answer, whatever the request.
  template <class Request>
  [[nodiscard]] http::response operator()(Request const&) const {
    return {200, {{"Content-Type", "application/x-ndjson"}}, lines()};
  }

  /// The events, one JSON object a line.
  [[nodiscard]] std::string lines() const {
    std::string text;
    std::uint64_t seq = 0;
    auto const add = [&](wire::event const& e) { text += wire::event_to_json(e).dump() + "\n"; };
    add(wire::start_event{.pid = 42, .id = "p-1"});
    if (!out_.empty())
      add(wire::output_event{wire::output_stream::out, out_, ++seq});
    if (!err_.empty())
      add(wire::output_event{wire::output_stream::err, err_, ++seq});
    wire::exit_event exit;
    exit.exit_code = exit_code_;
    exit.duration_ms = 1;
    exit.seq = ++seq;
    add(exit);
    return text;
  }

 private:
  std::string out_;
  std::string err_;
  int exit_code_;
};

/// A 200 with this JSON: what an agent answers to most calls.
[[nodiscard]] inline http::response json_reply(wire::json const& body) {
  return {200, {{"Content-Type", "application/json"}}, body.dump()};
}

/// What an agent answers to `spawn`: `expect("POST", "/v1/processes")`.
[[nodiscard]] inline http::response spawn_reply(std::string id = "p-1", std::int64_t pid = 42) {
  wire::process_entry entry;
  entry.id = std::move(id);
  entry.pid = pid;
  return json_reply(wire::process_entry_to_json(entry));
}

/// What an agent answers to `wait` and `status` of a process that has ended:
/// `expect("GET", "/v1/processes/p-1/wait?*")`.
[[nodiscard]] inline http::response ended_reply(int exit_code, std::string id = "p-1") {
  wire::run_status status;
  status.id = std::move(id);
  status.exited = true;
  status.exit.exit_code = exit_code;
  return json_reply(wire::run_status_to_json(status));
}

/// What an agent answers to `read_file`: `expect("GET", "/v1/files/read?*")`.
[[nodiscard]] inline http::response file_reply(std::string content) {
  auto const size = std::to_string(content.size());
  return {200,
          {{"Content-Type", "application/octet-stream"}, {"Content-Length", size}},
          std::move(content)};
}

/// What an agent answers to a call that fails: the status, the name of an `hf::errc`, a text, and
/// the error number of Linux where there is one.
[[nodiscard]] inline http::response error_reply(int status, std::string_view code,
                                                std::string_view message, int system_error = 0) {
  wire::json j = {{"code", code}, {"error", message}};
  if (system_error != 0)
    j["errno"] = system_error;
  return {status, {{"Content-Type", "application/json"}}, j.dump()};
}

}  // namespace hf::testing

#endif
