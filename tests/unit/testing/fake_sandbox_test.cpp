#include <hf/sandbox/any_launcher.hpp>
#include <hf/sandbox/any_transport.hpp>
#include <hf/sandbox/testing/fake_sandbox.hpp>

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace {

using hf::errc;
using hf::testing::fake_command;
using hf::testing::fake_run;
using hf::testing::fake_sandbox;

errc kind_of(std::function<void()> const& call) {
  try {
    call();
  } catch (hf::error const& e) {
    return e.kind();
  }
  return errc{};
}

// The program of docs/recipes.md.
template <class Sandbox>
std::string release_of(Sandbox& sb) {
  auto const r = sb.exec({"git", "describe", "--tags"}, {.cwd = "/work"});
  return r.ok() ? r.out : "unknown: " + r.err;
}

}  // namespace

TEST_CASE("code that uses a sandbox is tested without one") {
  fake_sandbox fake;
  fake.on("git *", {.err = "no tag", .exit_code = 128});
  auto sb = fake.create();
  CHECK(release_of(sb) == "unknown: no tag");
  fake.on("git describe *", {.out = "v1.2"});
  CHECK(release_of(sb) == "v1.2");
  REQUIRE(fake.commands().size() == 2);
  CHECK(fake.commands()[1].line == "git describe --tags");
  CHECK(fake.commands()[1].cwd == "/work");
  sb.terminate();
  CHECK(fake.launcher().running() == 0);
}

TEST_CASE("a fake sandbox serves code that takes erased policies") {
  fake_sandbox fake;
  fake.on("git *", {.out = "v3"});
  using erased = hf::basic_sandbox<hf::any_transport, hf::any_launcher>;
  auto sb = erased::create({}, fake.launcher(), fake.transport());
  CHECK(release_of(sb) == "v3");
}

TEST_CASE("a fake sandbox tells its commands what they were started with") {
  fake_sandbox fake;
  fake.on("*", [](fake_command const& c) {
    return fake_run{.out = c.input, .err = c.env.at("A") + c.user, .exit_code = c.background};
  });
  auto sb = fake.create();
  auto r = sb.exec(hf::shell("cat | sort"), {.env = {{"A", "b"}}, .input = std::string("\xff\0", 2),
                                             .user = "bob"});
  CHECK(r.out == std::string("\xff\0", 2));
  CHECK(r.err == "bbob");
  std::string const large(3u << 20, 'x');
  std::string streamed;
  r = sb.exec({"cat"}, {.env = {{"A", ""}}, .input = large,
                        .on_stdout = [&](std::string_view part) { streamed += part; }});
  CHECK((streamed == large));
  CHECK(r.out.empty());
  CHECK(fake.commands().size() == 2);
}

TEST_CASE("a fake sandbox fails as a real one does") {
  fake_sandbox fake;
  fake.on("true", {}).on("killed", {.signal = 9}).on("slow", {.timed_out = true});
  auto sb = fake.create();
  CHECK(kind_of([&] { sb.exec({"false"}); }) == errc::exec_failed);
  CHECK(kind_of([&] { sb.exec({"killed"}).check(); }) == errc::command_failed);
  CHECK(kind_of([&] { sb.exec({"slow"}).check(); }) == errc::command_timed_out);
  CHECK(kind_of([&] { static_cast<void>(sb.read_file("/none")); }) == errc::not_found);
  CHECK(kind_of([&] { static_cast<void>(sb.read_file("/tmp")); }) == errc::is_directory);
  fake.fail_next(hf::error(errc::quota_exceeded, "no credits"));
  CHECK(kind_of([&] { sb.exec({"true"}); }) == errc::quota_exceeded);
  CHECK(sb.exec({"true"}).ok());
  fake.launcher().fail_next_launch(hf::error(errc::no_space, "full"));
  CHECK(kind_of([&] { static_cast<void>(fake.create()); }) == errc::no_space);
}

TEST_CASE("background processes of a fake sandbox are followed, fed, polled and ended") {
  fake_sandbox fake;
  fake.on("server", {.out = "listening\n", .keeps_running = true});
  fake.on("job", {.out = "done\n", .err = "warned\n", .exit_code = 3});
  fake.on("cat", [](fake_command const& c) { return fake_run{.out = c.input}; });
  auto sb = fake.create();
  auto server = sb.spawn({"server"}, {.tag = "web"});
  CHECK(server.status().running);
  auto const first = server.output();
  CHECK(first.out == "listening\n");
  CHECK(server.output(first.last_seq).out.empty());
  CHECK_FALSE(server.wait_for(std::chrono::milliseconds(1)));
  REQUIRE(sb.processes().size() == 1);
  CHECK(sb.processes()[0].tag == "web");

  auto job = sb.spawn({"job"});
  CHECK(job.wait().exit_code == 3);
  auto const r = job.follow();
  CHECK(r.out == "done\n");
  CHECK(r.err == "warned\n");
  CHECK(r.exit_code == 3);

  auto reader = sb.spawn({"cat"}, {.open_input = true});
  auto const offset = reader.write_input("a ", 0);
  CHECK(reader.status().running);
  reader.write_input("line", offset, true);
  CHECK(reader.follow().out == "a line");

  server.signal(15);
  CHECK(server.wait().signal == 15);
  CHECK_FALSE(server.kill());
  CHECK(kind_of([&] { static_cast<void>(server.status()); }) == errc::not_found);
}

TEST_CASE("files of a fake sandbox are a map that both sides use") {
  fake_sandbox fake;
  fake.write("/etc/os-release", "ID=debian\n");
  fake.on("make", [&fake](fake_command const&) {
    fake.write("/work/a.out", "binary");
    return fake_run{};
  });
  auto sb = fake.create();
  CHECK(sb.read_file("/etc/os-release") == "ID=debian\n");
  sb.write_file("notes", "x");
  CHECK(fake.files().at("/root/notes") == "x");
  sb.exec({"make"}).check();
  auto files = sb.files();
  CHECK(files.exists("/work/a.out"));
  CHECK(files.stat("/work").type == hf::file_type::directory);
  files.write("/work/run & see", "12345", {.mode = 0755});
  CHECK(files.stat("/work/run & see").mode == 0755);
  std::vector<std::string> names;
  for (auto const& entry : files.list("/work"))
    names.push_back(entry.name);
  CHECK(names == std::vector<std::string>{"a.out", "run & see"});
  CHECK(kind_of([&] { files.remove("/work"); }) == errc::not_empty);
  files.remove("/work", true);
  CHECK_FALSE(files.exists("/work/a.out"));
  files.make_directory("/new/deep");
  CHECK(files.list("/new").size() == 1);
}

TEST_CASE("a scripted transport answers processes, files and errors with ready replies") {
  hf::testing::scripted_transport script;
  script.expect("POST", "/v1/processes").reply(hf::testing::spawn_reply("p-7"));
  script.expect("GET", "/v1/info").reply(
      hf::testing::json_reply({{"protocol", 3}, {"features", {{"wait", true}}}}));
  script.expect("GET", "/v1/processes/p-7/wait?*").reply(hf::testing::ended_reply(4, "p-7"));
  script.expect("GET", "/v1/files/read?*").reply(hf::testing::file_reply("content"));
  script.expect("GET", "/v1/files/stat?*")
      .reply(hf::testing::error_reply(403, "permission_denied", "no", 13));
  auto sb = hf::basic_sandbox<hf::testing::scripted_transport, hf::testing::fake_launcher>::create(
      {}, hf::testing::fake_launcher(), script);
  CHECK(sb.spawn({"x"}).wait().exit_code == 4);
  CHECK(sb.read_file("a") == "content");
  CHECK(kind_of([&] { static_cast<void>(sb.files().stat("a")); }) == errc::permission_denied);
  script.verify();
}
