// The same sandbox as a container of any image: docker [image]
#include <hf/sandbox.hpp>

#include <cstdio>
#include <exception>
#include <string>

using sandbox = hf::basic_sandbox<hf::curl_transport, hf::docker_launcher>;

static int run(std::string const& image) {
  hf::launch_options options;
  options.image = image;
  options.idle_timeout = std::chrono::minutes(5);
  // Nothing that runs inside can reach a network; the agent is reached through a unix socket.
  options.network = false;
  options.labels = {{"example", "docker"}};
  options.on_progress = [](std::string const& line) { std::printf("%s\n", line.c_str()); };

  hf::docker_options settings;
  settings.memory = std::uint64_t{256} << 20;
  settings.pids_limit = 100;

  auto sb = sandbox::create(options, hf::docker_launcher(settings));
  std::printf("container %.12s is up\n", sb.id().c_str());

  auto const sum = sb.exec({"python3", "-c", "print(1+1)"}).check();
  std::printf("Python says that 1+1 = %s", sum.out.c_str());

  sb.write_file("/tmp/foo.txt", "hello");
  std::printf("/tmp/foo.txt holds: %s\n", sb.read_file("/tmp/foo.txt").c_str());

  for (auto const& machine : sandbox::list({{"example", "docker"}}))
    std::printf("listed: %.12s, %s\n", machine.id.c_str(), machine.message.c_str());

  sb.terminate();  // or let the destructor do it
  return 0;
}

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? argv[1] : "python:3.12");
  } catch (hf::error const& e) {
    std::printf("%s\n", e.what());
    // 4: skipped. There is no engine here, or it has no way to the image.
    bool const no_engine =
        e.kind() == hf::errc::connect_failed || e.kind() == hf::errc::permission_denied;
    auto const* const launch = dynamic_cast<hf::launch_error const*>(&e);
    return no_engine || (launch != nullptr && launch->stage() == "pull") ? 4 : 1;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
