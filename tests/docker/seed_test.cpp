#include "support/docker/engine.hpp"
#include "support/sandbox_types.hpp"

#include <hf/sandbox/http/fetch.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <string>

using namespace hf::testing_support;

namespace {

// A server inside, asked through the agent until it is up.
template <class Sandbox, class Transport>
std::string ask_server(Sandbox& sb, Transport& transport, std::uint16_t port,
                       std::string const& path) {
  hf::http::request rq;
  rq.url = sb.url_for(port, path);
  rq.unix_socket = sb.unix_socket();
  rq.fields = sb.headers();
  hf::http::response answer;
  eventually([&] {
    answer = hf::http::fetch(transport, rq);
    return answer.status != 502;
  });
  CHECK(answer.status == 200);
  return answer.body;
}

}  // namespace

TEMPLATE_TEST_CASE("the same program runs in a python image", "", HF_SANDBOX_TEST_TRANSPORTS) {
  docker_test test;
  using sandbox = hf::basic_sandbox<TestType, hf::docker_launcher>;
  auto sb = sandbox::create(test.options(python_image), test.launcher());

  auto const r = sb.exec({"python3", "-c", "print(1+1)"});
  CHECK(r.out == "2\n");
  CHECK(r.exit_code == 0);
  sb.write_file("/tmp/foo.txt", "hello");
  CHECK(sb.read_file("/tmp/foo.txt") == "hello");
  CHECK(sb.exec(hf::shell("cat /tmp/foo.txt | wc -c")).out == "5\n");

  auto server = sb.spawn({"python3", "-m", "http.server", "8123", "--directory", "/tmp"});
  CHECK(ask_server(sb, sb.client()->transport(), 8123, "/foo.txt") == "hello");
  server.kill();

  auto const id = sb.id();
  sb.terminate();
  CHECK_FALSE(test.probe().exists(id));
}

TEMPLATE_TEST_CASE("the same program runs where there is one static program and nothing else", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  docker_test test;
  using sandbox = hf::basic_sandbox<TestType, hf::docker_launcher>;
  auto options = test.options();
  options.network = false;
  auto sb = sandbox::create(options, test.launcher());

  auto const r = sb.exec({"/bin/busybox", "expr", "1", "+", "1"});
  CHECK(r.out == "2\n");
  CHECK(r.exit_code == 0);
  sb.write_file("/tmp/foo.txt", "hello");
  CHECK(sb.read_file("/tmp/foo.txt") == "hello");
  CHECK(sb.exec({"/bin/busybox", "sh", "-c", "exit 3"}).exit_code == 3);

  auto server = sb.spawn({"/bin/busybox", "httpd", "-f", "-p", "127.0.0.1:8123", "-h", "/tmp"});
  CHECK(ask_server(sb, sb.client()->transport(), 8123, "/foo.txt") == "hello");
  server.kill();
}

TEST_CASE("the image's environment and working directory are kept") {
  docker_test test;
  auto options = test.options(python_image);
  options.env = {{"MINE", "a b"}};
  auto sb = test.create(options);
  CHECK(sb.exec({"pwd"}).out == "/srv\n");
  auto const env = sb.exec({"env"}).out;
  CHECK(env.find("HF_SANDBOX_TEST_IMAGE=python\n") != std::string::npos);
  CHECK(env.find("LANG=C.UTF-8\n") != std::string::npos);
  CHECK(env.find("MINE=a b\n") != std::string::npos);
  CHECK(env.find("SBX_TOKEN") == std::string::npos);
}

TEST_CASE("every way in and every way to the agent works") {
  auto const injection = GENERATE(hf::docker_injection::bind_mount, hf::docker_injection::archive);
  auto const reach = GENERATE(hf::docker_reach::unix_socket, hf::docker_reach::published_port,
                              hf::docker_reach::container_address);
  auto settings = docker_settings();
  settings.injection = injection;
  settings.reach = reach;
  docker_test test(settings);
  auto options = test.options();
  options.secrets = {{"PASSWORD", "hunter2"}};
  auto sb = test.create(options);
  CHECK(sb.unix_socket().empty() == (reach != hf::docker_reach::unix_socket));
  CHECK(sb.exec({"/bin/busybox", "echo", "hi"}).out == "hi\n");
  CHECK(sb.exec({"/bin/busybox", "sh", "-c", "echo $PASSWORD"}).out == "hunter2\n");

  auto const description = test.probe().inspect(sb.id()).dump();
  CHECK(description.find("hunter2") == std::string::npos);

  // Found again by its id alone.
  auto again = docker_sandbox::connect(sb.id(), test.launcher());
  CHECK(again.exec({"/bin/busybox", "echo", "again"}).out == "again\n");
}
