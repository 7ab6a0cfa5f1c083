#include <hf/sandbox/wire/exec.hpp>
#include <hf/sandbox/wire/parse_requests.hpp>

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <string>
#include <utility>

using namespace hf::wire;

namespace {

std::string refusal(std::string const& body) {
  try {
    (void)parse_exec_request(body);
  } catch (hf::error const& e) {
    CHECK(e.kind() == hf::errc::invalid_argument);
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a full exec request survives the way through JSON", "[wire]") {
  exec_request request;
  request.argv = {"a", "b c"};
  request.env = {{"X", "1"}, {"Y", ""}};
  request.cwd = "/tmp";
  request.timeout = 1.5;
  request.input = std::string("\xff\0z", 3);
  request.tag = "t";
  request.v = 2;
  request.op = "0123456789abcdef0123456789abcdef";
  request.linger = 3;
  request.user = "1:2";
  request.rlimits = {{"nofile", 10}};
  request.nice = -3;
  request.merge_stderr = true;
  request.max_output = 77;
  auto const j = exec_request_to_json(request);
  CHECK(j.contains("stdin_b64"));
  auto const back = parse_exec_request(j.dump());
  CHECK(back.argv == request.argv);
  CHECK_FALSE(back.script);
  CHECK(back.env == request.env);
  CHECK(back.cwd == request.cwd);
  CHECK(back.timeout == request.timeout);
  CHECK(back.input == request.input);
  CHECK(back.tag == request.tag);
  CHECK(back.v == 2);
  CHECK(back.op == request.op);
  CHECK(back.linger == request.linger);
  CHECK(back.user == request.user);
  CHECK(back.rlimits == request.rlimits);
  CHECK(back.nice == request.nice);
  CHECK(back.merge_stderr);
  CHECK(back.max_output == request.max_output);
}

TEST_CASE("the input text \"stream\" is not taken for a request to stream", "[wire]") {
  exec_request request;
  request.script = "cat";
  request.v = 2;
  request.input = "stream";
  auto back = parse_exec_request(exec_request_to_json(request).dump());
  CHECK_FALSE(back.input_stream);
  CHECK(back.input == "stream");
  CHECK(parse_exec_request(R"({"cmd":"cat","stdin":"stream"})").input == "stream");
  CHECK(parse_exec_request(R"({"cmd":"cat","stdin":"stream","v":2})").input_stream);
}

TEST_CASE("malformed exec requests are refused with the protocol's texts", "[wire]") {
  CHECK(refusal("{").starts_with("invalid JSON body: "));
  for (char const* body : {"{}", "[]", "7", R"({"cmd":null})", R"({"cmd":7})"})
    CHECK(refusal(body) == "missing 'cmd' (string or array of strings)");
  CHECK(refusal(R"({"cmd":[]})") == "cmd array must not be empty");
  CHECK(refusal(R"({"cmd":["a",1]})") == "cmd array items must be strings");
  CHECK(refusal(R"({"cmd":["a"],"shell":true})") == "shell=true requires 'cmd' to be a string");
  CHECK(refusal(R"({"shell":true})") == "shell=true requires 'cmd' to be a string");
  CHECK(refusal(R"({"cmd":5,"shell":false})") ==
        "shell=false requires 'cmd' to be an array of strings");
  CHECK(refusal(R"({"cmd":"a","shell":false})") ==
        "shell=false requires 'cmd' to be an array of strings");
  for (char const* body : {R"({"cmd":""})",
                           R"({"cmd":"a\u0000b"})",
                           R"({"cmd":["a\u0000"]})",
                           R"({"cmd":"a","env":[]})",
                           R"({"cmd":"a","env":{"A":null}})",
                           R"({"cmd":"a","env":{"A":["b"]}})",
                           R"({"cmd":"a","env":{"A":{}}})",
                           R"({"cmd":"a","env":{"A=B":""}})",
                           R"({"cmd":"a","env":{"":""}})",
                           R"({"cmd":"a","cwd":7})",
                           R"({"cmd":"a","cwd":"x\u0000"})",
                           R"({"cmd":"a","timeout":-1})",
                           R"({"cmd":"a","timeout":"5"})",
                           R"({"cmd":"a","stdin":5})",
                           R"({"cmd":"a","stdin":"x","stdin_b64":"eA=="})",
                           R"({"cmd":"a","stdin_b64":"x"})",
                           R"({"cmd":"a","background":1})",
                           R"({"cmd":"a","tag":1})",
                           R"({"cmd":"a","v":0})",
                           R"({"cmd":"a","v":"2"})",
                           R"({"cmd":"a","op":"12"})",
                           R"({"cmd":"a","op":""})",
                           R"({"cmd":"a","linger":-1})",
                           R"({"cmd":"a","rlimits":{"nofile":-1}})",
                           R"({"cmd":"a","rlimits":{"nofile":1.5}})",
                           R"({"cmd":"a","nice":20})",
                           R"({"cmd":"a","max_output":-1})",
                           R"({"cmd":"a","merge_stderr":"yes"})"}) {
    INFO(body);
    CHECK_FALSE(refusal(body).empty());
  }
  CHECK(refusal(std::string(100000, '[')).find("nested too deeply") != std::string::npos);
}

TEST_CASE("numbers and booleans in the environment are taken as their text", "[wire]") {
  auto const request = parse_exec_request(
      R"({"cmd":"a","env":{"I":-7,"U":18446744073709551615,"F":0.25,"T":true,"N":false,"S":"1"}})");
  std::map<std::string, std::string> const wanted{{"I", "-7"},    {"U", "18446744073709551615"},
                                                  {"F", "0.25"},  {"T", "true"},
                                                  {"N", "false"}, {"S", "1"}};
  CHECK(std::map<std::string, std::string>(request.env.begin(), request.env.end()) == wanted);
}

TEST_CASE("what a value would cost is bounded before it is built", "[wire]") {
  auto const many = [](std::string_view piece, std::size_t size) {
    std::string text = R"({"cmd":"a","later":[)";
    while (text.size() < size)
      text.append(piece).append(",");
    text.back() = ']';
    return text + "}";
  };
  // The last of these took minutes when every value was looked for among all before it.
  for (char const* piece : {"{}", "[]", "0", "\"\"", R"({"a":1})"}) {
    INFO(piece);
    CHECK(parse_exec_request(many(piece, 60'000)).script == "a");
    CHECK(refusal(many(piece, 2 << 20)).find("more than 262144 values") != std::string::npos);
  }
  CHECK(parse_exec_request(many("{}", 700'000)).script == "a");
  CHECK(parse_exec_request(many("[[],{}]", 600'000)).script == "a");
  // What is malformed is quoted, but not all of it.
  CHECK(refusal("{\"cmd\":\"" + std::string(1 << 20, 'x')).size() < 300);
}

TEST_CASE("null counts as absent and unknown members are ignored", "[wire]") {
  auto const request =
      parse_exec_request(R"({"cmd":"a","cwd":null,"timeout":null,"env":null,"later":{"x":[1]}})");
  CHECK_FALSE(request.cwd);
  CHECK_FALSE(request.timeout);
  CHECK(parse_exec_request(R"({"cmd":"a","user":5})").user == "5");
}

TEST_CASE("a command that is not UTF-8 is refused before it is sent", "[wire]") {
  exec_request request;
  request.script = "\xff";
  CHECK_THROWS_AS(exec_request_to_json(request), hf::error);
}

TEST_CASE("limits that are not an object of whole numbers are refused before they are sent",
          "[wire]") {
  exec_request request;
  request.argv = {"true"};
  for (char const* limits : {"[]", "5", "\"nofile\"", "true", R"({"nofile":-1})",
                             R"({"nofile":1.5})", R"({"nofile":"10"})", R"({"nofile":null})"}) {
    INFO(limits);
    request.rlimits = json::parse(limits);
    try {
      (void)exec_request_to_json(request);
      FAIL("was accepted");
    } catch (hf::error const& e) {
      CHECK(e.code() == hf::errc::invalid_argument);
    }
  }
  request.rlimits = {{"nofile", 0}, {"as", 18446744073709551615u}};
  CHECK(exec_request_to_json(request).at("rlimits") == request.rlimits);
  request.rlimits = json::object();
  CHECK_FALSE(exec_request_to_json(request).contains("rlimits"));
}
