#ifndef HF_SANDBOX_TESTING_AGENT_REPLIES_HPP
#define HF_SANDBOX_TESTING_AGENT_REPLIES_HPP

#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/wire/events.hpp>

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

}  // namespace hf::testing

#endif
