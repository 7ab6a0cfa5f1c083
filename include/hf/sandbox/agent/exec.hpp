#ifndef HF_SANDBOX_AGENT_EXEC_HPP
#define HF_SANDBOX_AGENT_EXEC_HPP

#include <hf/sandbox/agent/client.hpp>
#include <hf/sandbox/agent/input_pump.hpp>
#include <hf/sandbox/agent/run_driver.hpp>
#include <hf/sandbox/agent/run_state.hpp>
#include <hf/sandbox/command.hpp>
#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/detail/linked_stop.hpp>
#include <hf/sandbox/detail/utf8.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/wire/exec.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::detail {

/// Names of the agent's features that calls of this library depend on.
inline constexpr char feature_stdin_stream[] = "stdin_stream";
inline constexpr char feature_merge_stderr[] = "merge_stderr";
inline constexpr char feature_user[] = "user";

/// Refuses what no agent could run (options of `exec` or `spawn`), before anything is sent.
template <class Options = exec_options>
void validate_command(command const& what, Options const& options) {
  auto const refuse = [](std::string why) {
    throw error(errc::invalid_argument, "exec: " + std::move(why));
  };
  auto const no_nul = [&](std::string const& text, char const* name) {
    if (text.find('\0') != std::string::npos)
      refuse(std::string(name) + " has a NUL byte");
    if (!is_utf8(text))
      refuse(std::string(name) + " is not UTF-8, which JSON requires");
  };
  if (auto const* script = what.script()) {
    if (script->empty())
      refuse("the shell script is empty");
    no_nul(*script, "the shell script");
  } else {
    if (what.argv()->empty())
      refuse("the command is empty");
    if (what.argv()->front().empty())
      refuse("the program's name is empty");
    for (auto const& item : *what.argv())
      no_nul(item, "an argument");
  }
  no_nul(options.cwd, "cwd");
  no_nul(options.user, "user");
  if constexpr (requires { options.tag; })
    no_nul(options.tag, "tag");
  for (auto const& [name, value] : options.env) {
    if (name.empty() || name.find('=') != std::string::npos)
      refuse("'" + name + "' is no name of an environment variable");
    no_nul(name, "the name of an environment variable");
    no_nul(value, "an environment variable");
  }
  if (options.timeout && options.timeout->count() <= 0)
    refuse("timeout must be positive");
  if constexpr (requires { options.open_input; })
    if (options.open_input && options.input.present())
      refuse("input and open_input exclude each other");
  if constexpr (requires { options.linger; })
    if (options.linger.count() < 0)
      refuse("linger must not be negative");
  auto const& op = options.operation_id;
  if (!op.empty() && !wire::is_operation_id(op))
    refuse("operation_id must be 32 hexadecimal digits");
}

/// The wire form of a command with its options, without its input.
template <class Options = exec_options>
[[nodiscard]] wire::exec_request make_exec_request(command const& what, Options const& options,
                                                   std::string operation_id) {
  wire::exec_request rq;
  if (auto const* script = what.script())
    rq.script = *script;
  else
    rq.argv = *what.argv();
  rq.env = options.env;
  if (!options.cwd.empty())
    rq.cwd = options.cwd;
  if (options.timeout)
    rq.timeout = static_cast<double>(options.timeout->count()) / 1000.0;
  if constexpr (requires { options.tag; })
    if (!options.tag.empty())
      rq.tag = options.tag;
  if (!options.user.empty())
    rq.user = options.user;
  rq.merge_stderr = options.merge_stderr;
  rq.v = 2;
  rq.op = std::move(operation_id);
  if constexpr (requires { options.linger; })
    rq.linger = static_cast<double>(options.linger.count());
  return rq;
}

/// Reads a small input into memory.
template <class = void>
[[nodiscard]] std::string read_input(http::body const& input) {
  if (input.reader() == nullptr)
    return input.text();
  input.reader()->rewind();
  std::string text(static_cast<std::size_t>(input.reader()->size()), '\0');
  std::size_t at = 0;
  while (at < text.size()) {
    auto const got =
        input.reader()->read(std::as_writable_bytes(std::span(text.data() + at, text.size() - at)));
    if (got == 0)
      throw error(errc::invalid_argument, "an input reader is shorter than its size()");
    at += got;
  }
  return text;
}

/// Asks for the features that the options need and decides how the input travels.
template <transport Transport, class Options>
void prepare_run(agent_client<Transport>& agent, Options const& options, wire::exec_request& rq) {
  call_options call;
  call.stop = options.stop;
  call.deadline = options.deadline;
  for (auto const& feature : options.require)
    agent.require(feature, call);
  if (options.merge_stderr)
    agent.require(feature_merge_stderr, call);
  if (!options.user.empty())
    agent.require(feature_user, call);
  if constexpr (requires { options.open_input; })
    if (options.open_input) {
      agent.require(feature_stdin_stream, call);
      rq.input_stream = true;
      return;
    }
  if (!options.input.present())
    return;
  auto const size = options.input.size();
  // An agent that takes no streamed input gets it in the request, as far as that can hold it.
  if (size > wire::max_json_body ||
      (size > wire::max_inline_input && agent.features(call).has(feature_stdin_stream))) {
    agent.require(feature_stdin_stream, call);
    rq.input_stream = true;
    return;
  }
  rq.input = read_input(options.input);
  // Agents of the common protocol know no stdin_b64 and would run without input.
  if (!is_utf8(*rq.input))
    agent.require(feature_stdin_stream, call);
  else if (*rq.input == wire::stream_input && !agent.features(call).has(feature_stdin_stream))
    rq.v = 1;
}

/// The request's body; `errc::too_large` when no agent would take it.
template <class Json = wire::json>
[[nodiscard]] std::string exec_body(std::string_view doing, wire::exec_request const& rq) {
  auto body = wire::exec_request_to_json<Json>(rq).dump();
  if (body.size() > wire::max_json_body)
    throw error(errc::too_large,
                std::string(doing) + ": command, environment and input are larger than 16 MiB");
  return body;
}

/// The agent's refusal to start a command, with what only the caller's side knows: which folder it
/// was, or that a script was given as the name of a program.
template <class = void>
[[nodiscard]] error explain_start_failure(error const& e, command const& what,
                                          std::string const& cwd) {
  std::string message = e.what();
  auto const* const argv = what.argv();
  if (e.details().stage == "chdir")
    message += " (the working directory '" + cwd + "')";
  else if (argv != nullptr && argv->size() == 1 && argv->front().find(' ') != std::string::npos)
    message += " (this is one program's name; a script for the shell is hf::shell(\"...\"))";
  return error(e.kind(), std::move(message), e.details());
}

/// Deals with the ways in which following a run ends early: a callback's exception, a full capture,
/// a stop request.
template <transport Transport, class Follow>
run_result conclude(run_driver<Transport>& driver, run_state<>& state, input_pump<Transport>* pump,
                    Follow&& follow) {
  auto const& options = state.options();
  try {
    follow();
  } catch (error const& e) {
    if (pump != nullptr) {
      pump->finish();
      if (pump->failure()) {
        state.mute();
        driver.kill();
        std::rethrow_exception(pump->failure());
      }
    }
    if (e.kind() != errc::cancelled || !options.stop.stop_requested())
      throw;
    if (options.when_stopped == on_stop::abandon)
      throw state.interrupted(errc::cancelled, "waiting was abandoned; the command goes on");
    if (driver.may_run() && !driver.kill())
      throw state.interrupted(errc::cancelled,
                              "cancelled, but the agent could not be told to kill the command");
    driver.drain();
    if (state.thrown())
      std::rethrow_exception(state.thrown());
    state.result().cancelled = true;
    return std::move(state.result());
  } catch (...) {
    // Not ours: an input reader or a transport of the user's threw.
    state.mute();
    if (options.kill_when_thrown)
      driver.kill();
    throw;
  }
  if (pump != nullptr)
    pump->finish();
  if (state.thrown()) {
    state.mute();
    if (options.kill_when_thrown)
      driver.kill();
    std::rethrow_exception(state.thrown());
  }
  if (state.overflowed()) {
    state.mute();
    bool const killed = driver.kill();
    std::string message = "command '" + state.result().command_line +
                          (killed ? "' was killed" : "' could not be killed") +
                          ": its output is larger than capture_limit (" +
                          std::to_string(options.capture_limit) + " bytes)";
    throw command_error(errc::output_limit, std::move(message), std::move(state.result()));
  }
  if (state.end_unknown())
    throw state.interrupted(errc::outcome_unknown,
                            "the command has ended, and the agent does not know how");
  return std::move(state.result());
}

/// Runs a command in the foreground. `machine_ended` asks the launcher; may be empty.
template <transport Transport, class Json = wire::json>
run_result exec(agent_client<Transport>& agent, command const& what, exec_options const& options,
                std::function<bool()> const& machine_ended) {
  validate_command(what, options);
  if (options.stop.stop_requested())
    throw error(errc::cancelled, "exec: cancelled before it began");
  run_handle handle;
  handle.operation_id = options.operation_id.empty() ? random_hex(16) : options.operation_id;
  auto rq = make_exec_request(what, options, handle.operation_id);
  prepare_run(agent, options, rq);
  auto body = exec_body<Json>("exec", rq);

  run_state<> state(terms_of(options), std::move(handle), what.display());
  linked_stop fail_run(options.stop);
  std::optional<input_pump<Transport>> pump;
  if (rq.input_stream)
    pump.emplace(agent, options.input, fail_run);
  auto* const pump_or_null = pump ? &*pump : nullptr;
  run_driver<Transport> driver(agent, state, machine_ended);
  try {
    return conclude(driver, state, pump_or_null,
                    [&] { driver.start(std::move(body), pump_or_null, fail_run.token()); });
  } catch (error const& e) {
    if (e.kind() != errc::exec_failed)
      throw;
    throw explain_start_failure(e, what, options.cwd);
  }
}

/// Follows a run that was started elsewhere, to its end.
template <transport Transport>
run_result attach(agent_client<Transport>& agent, run_handle handle, follow_options const& options,
                  std::function<bool()> const& machine_ended) {
  if (handle.process_id.empty() && !wire::is_operation_id(handle.operation_id))
    throw error(errc::invalid_argument, "resume: the handle names no run");
  auto label = handle.process_id.empty() ? handle.operation_id : handle.process_id;
  run_state<> state(terms_of(options), std::move(handle), std::move(label));
  run_driver<Transport> driver(agent, state, machine_ended);
  return conclude(driver, state, static_cast<input_pump<Transport>*>(nullptr),
                  [&] { driver.attach(options.stop); });
}

}  // namespace hf::detail

#endif
