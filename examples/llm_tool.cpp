// A language model that computes with Python: it asks for the tool, the sandbox runs its code, and
// what came out goes back, until the model answers in words.
//
//   OPENAI_BASE_URL=http://localhost:8000/v1 OPENAI_MODEL=name ./example_llm_tool "question"
//
// Without OPENAI_BASE_URL a recorded conversation plays the model's part; the sandbox is real.
#include <hf/sandbox.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

using json = nlohmann::json;
using sandbox = hf::basic_sandbox<hf::curl_transport, hf::process_launcher>;

// What the model said when this was recorded: a mistake first, as models do, then the answer.
static char const* const recorded = R"json([
  {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", "function":
    {"name": "run_python", "arguments": "{\"code\": \"print(sum(p for p in range(2, 100) if is_prime(p)))\"}"}}]},
  {"role": "assistant", "content": null, "tool_calls": [{"id": "call_2", "type": "function", "function":
    {"name": "run_python", "arguments": "{\"code\": \"is_prime = lambda n: all(n % d for d in range(2, n))\\nprint(sum(p for p in range(2, 100) if is_prime(p)))\"}"}}]},
  {"role": "assistant", "content": "The primes below 100 add up to 1060."}
])json";

class model {
 public:
  model() : replies_(json::parse(recorded)) {
    if (char const* const url = std::getenv("OPENAI_BASE_URL"))
      url_ = url;
  }

  json next(json const& messages) {
    if (url_.empty())
      return replies_.at(turn_++);
    hf::http::request rq;
    rq.method = "POST";
    rq.url = url_ + "/chat/completions";
    rq.fields.set("Content-Type", "application/json");
    if (char const* const key = std::getenv("OPENAI_API_KEY"))
      rq.fields.set("Authorization", std::string("Bearer ") + key);
    char const* const name = std::getenv("OPENAI_MODEL");
    rq.body =
        json{{"model", name ? name : "default"}, {"messages", messages}, {"tools", tools()}}.dump();
    rq.stall_timeout = std::chrono::minutes(5);
    auto const answer = hf::http::fetch(transport_, rq);
    if (answer.status != 200)
      throw hf::error(hf::errc::server_error,
                      "the model's server answered " + std::to_string(answer.status));
    return json::parse(answer.body).at("choices").at(0).at("message");
  }

 private:
  static json tools() {
    return json::parse(R"json([{"type": "function", "function": {"name": "run_python",
      "description": "Runs a Python program and returns what it prints.",
      "parameters": {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}}}])json");
  }

  hf::curl_transport transport_;
  std::string url_;
  json replies_;
  std::size_t turn_ = 0;
};

// Everything that goes wrong inside is an answer for the model, not an exception here.
static std::string run_python(sandbox& sb, std::string const& code) {
  auto const r = sb.exec({"python3", "-"}, {.input = code,
                                            .timeout = std::chrono::seconds(20),
                                            .capture_limit = 16 * 1024});
  std::string text = r.out + r.err;
  if (r.truncated)
    text += "\n[output truncated]";
  if (r.timed_out)
    text += "\n[killed after 20 seconds]";
  if (!r.ok())
    text += "\n[exit code " + std::to_string(r.exit_code) + "]";
  return text;
}

static int run(std::string const& question) {
  // No network for a model's code.
  auto sb = sandbox::create({.network = false});
  if (!sb.exec(hf::shell("python3 -c 0")).ok()) {
    std::printf("Skipped: no python3 for the tool\n");
    return 4;
  }
  model assistant;
  json messages = json::array({{{"role", "user"}, {"content", question}}});
  for (int turn = 0; turn < 10; ++turn) {
    json const message = assistant.next(messages);
    messages.push_back(message);
    if (!message.contains("tool_calls") || message["tool_calls"].empty()) {
      std::printf("model: %s\n", message.value("content", "").c_str());
      return 0;
    }
    for (auto const& call : message["tool_calls"]) {
      auto const arguments = json::parse(call.at("function").at("arguments").get<std::string>());
      auto const code = arguments.value("code", "");
      auto const result = run_python(sb, code);
      std::printf("model runs:\n%s\n=> %s\n", code.c_str(), result.c_str());
      messages.push_back({{"role", "tool"}, {"tool_call_id", call.at("id")}, {"content", result}});
    }
  }
  std::printf("no answer after ten turns\n");
  return 1;
}

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? argv[1] : "What is the sum of the primes below 100?");
  } catch (hf::error const& e) {
    bool const denied = e.kind() == hf::errc::isolation_unavailable;
    std::printf("%s%s\n", denied ? "Skipped: " : "", e.what());
    return denied ? 4 : 1;
  } catch (json::exception const& e) {
    std::printf("the model's answer is not what was expected: %s\n", e.what());
    return 1;
  }
}
