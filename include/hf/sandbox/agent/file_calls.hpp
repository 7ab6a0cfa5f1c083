#ifndef HF_SANDBOX_AGENT_FILE_CALLS_HPP
#define HF_SANDBOX_AGENT_FILE_CALLS_HPP

#include <hf/sandbox/agent/client.hpp>
#include <hf/sandbox/agent/run_start.hpp>
#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <string>
#include <string_view>

namespace hf::detail {

/// A route with its query, put together parameter by parameter.
template <class = void>
class basic_file_target_text {
 public:
  explicit basic_file_target_text(std::string_view route) : text_(route) {}

  basic_file_target_text& add(std::string_view name, std::string_view value) {
    text_ += text_.find('?') == std::string::npos ? '?' : '&';
    text_ += name;
    text_ += '=';
    text_ += http::encode_component(value);
    return *this;
  }
  [[nodiscard]] std::string const& str() const noexcept { return text_; }

 private:
  std::string text_;
};
using file_target_text = basic_file_target_text<>;

/// Refuses paths that no agent could take, before anything is sent.
template <class = void>
void validate_remote_path(std::string_view doing, std::string const& path) {
  if (path.empty())
    throw error(errc::invalid_argument, std::string(doing) + ": the path is empty");
  if (path.find('\0') != std::string::npos)
    throw error(errc::invalid_argument, std::string(doing) + ": the path has a NUL byte");
}

/// "read '/x'", for error texts.
template <class = void>
[[nodiscard]] std::string file_call_name(std::string_view verb, std::string const& path) {
  return std::string(verb) + " '" + path + "'";
}

/// The JSON of an agent's answer; `errc::protocol_error` when it is none.
template <class Json = wire::json>
[[nodiscard]] Json file_answer_json(std::string_view doing, http::response const& answer) {
  auto body = parse_json<Json>(answer.body);
  if (body.is_discarded())
    throw error(errc::protocol_error, std::string(doing) + ": the answer is not JSON",
                {.http_status = answer.status, .where = hop::agent, .may_have_reached_peer = true});
  return body;
}

/// A fresh operation id.
template <class = void>
[[nodiscard]] std::string new_operation() {
  return random_hex(16);
}

/// Performs a request that carries an operation id. It is repeated after any failure when the agent
/// keeps operation ids (a repetition then names the agent it was first sent to); with other agents
/// only when `idempotent`, or when no byte of it can have arrived.
template <transport T>
http::response call_operation(agent_client<T>& agent, std::string_view doing, http::request rq,
                              bool idempotent) {
  resend_guard guard(agent.instance());
  if (guard.instance().empty())
    return idempotent ? agent.call_idempotent(doing, rq) : agent.call_once(doing, rq);
  return agent.retrying(rq, true, [&] {
    guard.address(rq);
    try {
      return agent.call(doing, rq);
    } catch (error const& e) {
      guard.failed(e);
      throw;
    }
  });
}

}  // namespace hf::detail

#endif
