using System.Security.Cryptography;
using System.Text;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using RabbitMQ.Client;

namespace FaceEmbedWorker.Tests.Broker;

public class JobMessageTests
{
    [Fact]
    public void A_job_may_ask_for_its_own_detail()
    {
        Assert.Equal(3, new JobMessage(new byte[] { 1 }, new BasicProperties { Headers = new Dictionary<string, object?> { ["detail"] = 3 } }).Read().Detail);
        Assert.Equal(4, new JobMessage(new byte[] { 1 }, new BasicProperties { Headers = new Dictionary<string, object?> { ["detail"] = "4"u8.ToArray() } }).Read().Detail);
        Assert.Equal(2, new JobMessage("{\"image\":{\"data\":\"AAAA\"},\"detail\":2}"u8.ToArray(), new BasicProperties { ContentType = "application/json" }).Read().Detail);
        Assert.Null(new JobMessage(new byte[] { 1 }, new BasicProperties()).Read().Detail);
        Assert.Contains("The detail '5' is unknown", Assert.Throws<MalformedJobException>(() => new JobMessage("{\"image\":{\"data\":\"AAAA\"},\"detail\":5}"u8.ToArray(), new BasicProperties { ContentType = "application/json" }).Read()).Message, StringComparison.Ordinal);
        Assert.Throws<MalformedJobException>(() => new JobMessage(new byte[] { 1 }, new BasicProperties { Headers = new Dictionary<string, object?> { ["detail"] = true } }).Read());
    }

    [Theory]
    [InlineData("image/jpeg")]
    [InlineData("IMAGE/PNG; q=1")]
    [InlineData("application/octet-stream")]
    [InlineData(null)]
    public void A_raw_body_is_the_picture(string? contentType)
    {
        var job = Message([1, 2, 3], contentType, id: "photo-42", headers: new() { ["mode"] = "image"u8.ToArray(), ["metadata"] = """{"a":1}"""u8.ToArray() }).Read();
        Assert.Equal([1, 2, 3], Assert.IsType<ImageSource.Data>(job.Image).Bytes);
        Assert.Equal(("photo-42", EmbedMode.Image, 1), (job.Id, job.Mode, job.Attempt));
        Assert.Equal("""{"a":1}""", job.Metadata!.Value.GetRawText());
    }

    /// <summary>Whatever a job asks for is asked by field and by header alike, and survives being sent again.</summary>
    [Fact]
    public void What_a_job_asks_for_is_read_from_fields_and_headers()
    {
        const string Points = "[[921.4,790.2],[1082,786.5],[1001.3,880.9],[935.1,965],[1069.7,962.2]]";
        var asked = new EmbedJob("x", new ImageSource.Data([1, 2, 3]), EmbedMode.Aligned, Detail: 3)
        {
            MaxFaces = 20,
            MinFaceSize = 40,
            ReturnCrops = CropFormat.Png,
            Landmarks = new FivePoints(new(921.4, 790.2), new(1082, 786.5), new(1001.3, 880.9), new(935.1, 965), new(1069.7, 962.2)),
        };
        var json = Json($$$"""{"id":"x","image":{"data":"AQID"},"mode":"aligned","detail":3,"max_faces":20,"min_face_size":40,"return_crops":"png","landmarks":{{{Points}}}}""");
        var raw = Message([1, 2, 3], id: "x", headers: new() { ["mode"] = "aligned"u8.ToArray(), ["detail"] = (byte)3, ["max_faces"] = (short)20, ["min_face_size"] = "40"u8.ToArray(), ["return_crops"] = "png"u8.ToArray(), ["landmarks"] = Encoding.UTF8.GetBytes(Points) });
        foreach (var message in new[] { json, new JobMessage(json.Body, json.CopyProperties()), raw, new JobMessage(raw.Body, raw.CopyProperties()) })
        {
            var job = message.Read();
            Assert.Equal(asked, job with { Image = asked.Image });
        }
    }

    [Theory]
    [InlineData("max_faces", "0", "no whole number from 1 to 100,000")]
    [InlineData("max_faces", "1.5", "no whole number from 1 to 100,000")]
    [InlineData("max_faces", "\"3\"", "no whole number from 1 to 100,000")]
    [InlineData("min_face_size", "-1", "no whole number from 0 to 100,000")]
    [InlineData("min_face_size", "99999999999999999999", "no whole number from 0 to 100,000")]
    [InlineData("return_crops", "\"gif\"", "it can be png or jpeg")]
    [InlineData("return_crops", "true", "is true, not a string")]
    [InlineData("landmarks", "[[1,2]]", "not five points")]
    [InlineData("landmarks", "[[1,2],[1,2],[1,2],[1,2],[1,\"2\"]]", "not five points")]
    [InlineData("landmarks", "[[1,2],[1,2],[1,2],[1,2],[1,1e300]]", "not five points")]
    [InlineData("mode", "\"crops\"", "it can be faces, image or aligned")]
    [InlineData("id", "\"a\\u0000b\"", "U+0000")]
    public void A_question_that_cannot_be_says_what_can(string field, string value, string told) => Malformed(Json($$$"""{"image":{"data":"AQID"},"{{{field}}}":{{{value}}}}"""), told);

    [Fact]
    public void A_copys_metadata_is_as_long_as_the_readers_limit_in_bytes()
    {
        var text = $$"""{"a":"{{new string('é', JobMessage.LongestMetadataHeader / 2 - 4)}}"}""";
        var message = Message([1], headers: new() { ["metadata"] = Encoding.UTF8.GetBytes(text) });
        Assert.Equal(text, new JobMessage(message.Body, message.CopyProperties()).Read().Metadata!.Value.GetRawText());

        message = Message([1], headers: new() { ["metadata"] = Encoding.UTF8.GetBytes(text.Insert(6, "é")) });
        Assert.Contains("16,386 bytes", Assert.Throws<MalformedJobException>(() => message.Read()).Message, StringComparison.Ordinal);
        Assert.Throws<MalformedJobException>(() => new JobMessage(message.Body, message.CopyProperties()).Read());
    }

    [Theory]
    [InlineData("9999-12-31T23:59:59Z", "9999999999", false)]
    [InlineData("0001-01-01T00:00:00Z", "9999999999", true)]
    [InlineData("2026-01-01T00:00:00Z", "60000", true)]
    [InlineData("2026-06-01T00:00:00Z", "60000", false)]
    public void A_job_expires_by_whatever_time_its_header_tells(string failed, string milliseconds, bool expired)
    {
        var now = new DateTimeOffset(2026, 6, 1, 0, 0, 0, TimeSpan.Zero);
        var message = new JobMessage(new byte[] { 1 }, new BasicProperties { Expiration = milliseconds, Headers = new Dictionary<string, object?> { ["fw-first-failed-at"] = Encoding.UTF8.GetBytes(failed) } });
        Assert.Equal(expired, message.ExpiresBefore(now.AddSeconds(20), now));
    }

    [Fact]
    public void Without_an_id_a_job_is_named_by_its_body() =>
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData([1, 2, 3])), Message([1, 2, 3]).Read().Id);

    [Fact]
    public void A_json_job_is_read()
    {
        var job = Json("""{"id":"photo-42","image":{"data":"AQID"},"mode":"faces","metadata":{"a":[1,{"b":null}]},"later":"ignored"}""").Read();
        Assert.Equal([1, 2, 3], Assert.IsType<ImageSource.Data>(job.Image).Bytes);
        Assert.Equal(("photo-42", EmbedMode.Faces), (job.Id, job.Mode));
        Assert.Equal("""{"a":[1,{"b":null}]}""", job.Metadata!.Value.GetRawText());
    }

    [Fact]
    public void A_json_job_can_refer_to_its_picture()
    {
        Assert.Equal("https://example.org/a.jpg", Assert.IsType<ImageSource.Url>(Json("""{"image":{"url":"https://example.org/a.jpg"}}""").Read().Image).Address);
        Assert.Equal(("photos", "2026/a.jpg", new string('a', 64)), Assert.IsType<ImageSource.S3>(Json($$$"""{"image":{"s3":"photos/2026/a.jpg","sha256":"{{{new string('A', 64)}}}"}}""").Read().Image) is var s ? (s.Bucket, s.Key, s.Sha256) : default);
        Assert.Equal("2026/a.jpg", Assert.IsType<ImageSource.Path>(Json("""{"image":{"path":"2026/a.jpg"}}""").Read().Image).Name);
    }

    [Theory]
    [InlineData("", "empty")]
    [InlineData("{", "cannot be read: it ends before its last object or list does (line 1, byte 2).")]
    [InlineData("{\n  \"image\": x}", "cannot be read: 'x' is an invalid start of a value (line 2, byte 12).")]
    [InlineData("{\"image\":{},}", "cannot be read: nothing follows a comma (line 1, byte 13).")]
    [InlineData("[]", "is an array, not an object")]
    [InlineData("{}", "no object 'image'")]
    [InlineData("""{"image":{}}""", "exactly one")]
    [InlineData("""{"image":{"data":"AQID","url":"x"}}""", "exactly one")]
    [InlineData("""{"image":{"data":""}}""", "is empty")]
    [InlineData("""{"image":{"data":"%%%"}}""", "not base64")]
    [InlineData("""{"image":{"data":7}}""", "is a number, not a string")]
    [InlineData("""{"id":7,"image":{"data":"AQID"}}""", "'id' is a number")]
    [InlineData("""{"id":"","image":{"data":"AQID"}}""", "0 bytes")]
    [InlineData("""{"image":{"data":"AQID"},"mode":"face"}""", "mode 'face' is unknown")]
    [InlineData("""{"image":{"data":"AQID"},"metadata":[]}""", "'metadata' is an array")]
    [InlineData("""{"id":"\ud800","image":{"data":"AQID"}}""", "no Unicode")]
    [InlineData("""{"image":{"path":"\udc00"}}""", "no Unicode")]
    [InlineData("""{"image":{"s3":"bucket"}}""", "is not bucket/key")]
    [InlineData("""{"image":{"url":"https://x/","sha256":"00"}}""", "64 hexadecimal")]
    [InlineData("""{"image":{"data":"AQID"},"deadline":"2026"}""", "is no time")]
    [InlineData("""{"image":{"data":"AQID"},"vector_encoding":"hex"}""", "numbers or base64")]
    public void A_malformed_json_job_says_what_is_wrong(string json, string told) => Malformed(Json(json), told);

    /// <summary>A large picture is cut out before the rest is parsed, and who sent it counts it all the same.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("\n\n  ")]
    public void What_is_wrong_behind_a_large_picture_is_where_it_was_sent(string before)
    {
        var json = $$"""{{{before}}"image":{"data":"{{Convert.ToBase64String(new byte[100_000])}}"},"mode": x}""";
        var at = json.Length - 1 - (json.LastIndexOf('\n') + 1);
        Malformed(Json(json), $"cannot be read: 'x' is an invalid start of a value (line {json.Count(c => c == '\n') + 1}, byte {at}).");
    }

    [Theory]
    [InlineData("""{"id":"photo-42","image":{}}""", "photo-42")]
    [InlineData("""{"image":{"data":7},"id":"photo-42"}""", "photo-42")]
    [InlineData("""{"id":"photo-42","image":{"data":"AQI""", "photo-42")]
    [InlineData("""{"id":"photo-42" "image":1}""", "photo-42")]
    [InlineData("""{"id":"","image":{}}""", "sent")]
    [InlineData("""{"id":7}""", "sent")]
    [InlineData("""{"image":{"id":"inner"}}""", "sent")]
    [InlineData("""[{"id":"x"}]""", "sent")]
    [InlineData("", "sent")]
    public void A_malformed_job_keeps_its_id(string json, string id) => Assert.Equal(id, Message(Encoding.UTF8.GetBytes(json), "application/json; charset=utf-8", id: "sent").JobId);

    [Theory]
    [InlineData("""{"id":"event","data":{"id":"photo-42","image":{}}}""", "photo-42")]
    [InlineData("""{"data":{"id":"photo-42"},"id":"event"}""", "photo-42")]
    [InlineData("""{"id":"event","data_base64":7}""", "event")]
    [InlineData("""{"id":"event","more":{"id":"no"}}""", "event")]
    public void A_malformed_event_keeps_its_id(string json, string id) => Assert.Equal(id, Message(Encoding.UTF8.GetBytes(json), EmbedResult.CloudEventType).JobId);

    [Fact]
    public void Whatever_is_no_job_has_an_id() => Assert.Equal(Convert.ToHexStringLower(SHA256.HashData("{"u8)), Json("{").JobId);

    [Fact]
    public void What_is_ignored_in_a_job_is_told()
    {
        Assert.Null(Json("""{"id":"a","image":{"data":"AQID"},"mode":"faces","detail":2,"metadata":{"any":1},"vector_encoding":"base64","deadline":"2026-01-31T12:00:00Z"}""").Read().Warnings);
        Assert.Equal(["The job's field 'modus' is unknown and was ignored.", "The job's field 'image.uri' is unknown and was ignored."],
            Json("""{"image":{"data":"AQID","uri":"x"},"modus":"faces"}""").Read().Warnings);
        Assert.Equal((11, "And 90 more fields of the job were ignored."), Many(100));
        Assert.Equal((11, "And 1 more field of the job was ignored."), Many(11));
        Assert.Equal((10, "The job's field 'x9' is unknown and was ignored."), Many(10));

        static (int Count, string Last) Many(int unknown)
        {
            var warnings = Json($$"""{"image":{"data":"AQID"}{{string.Concat(Enumerable.Range(0, unknown).Select(n => $",\"x{n}\":{n}"))}}}""").Read().Warnings!;
            return (warnings.Count, warnings[^1]);
        }
    }

    [Fact]
    public void A_header_that_a_raw_job_does_not_have_is_told()
    {
        var sent = new Dictionary<string, object?> { ["Priority"] = 7, ["ID"] = "b", ["modus"] = "image", ["max_face"] = 3, ["MinFaceSize"] = 9, ["mdoe"] = "image", ["Return-Crops"] = "png"u8.ToArray(), ["vectorEncoding"] = "base64", ["priority"] = 7, ["id"] = "a", ["mode"] = "faces"u8.ToArray() };
        string[] told =
        [
            "The job's header 'ID' was ignored: a raw job's id is its message_id.",
            "The job's header 'MinFaceSize' is unknown and was ignored. Did you mean 'min_face_size'?",
            "The job's header 'Priority' was ignored: a raw job's priority is AMQP's property of that name.",
            "The job's header 'Return-Crops' is unknown and was ignored. Did you mean 'return_crops'?",
            "The job's header 'id' was ignored: a raw job's id is its message_id.",
            "The job's header 'max_face' is unknown and was ignored. Did you mean 'max_faces'?",
            "The job's header 'mdoe' is unknown and was ignored. Did you mean 'mode'?",
            "The job's header 'modus' is unknown and was ignored. Did you mean 'mode'?",
            "The job's header 'priority' was ignored: a raw job's priority is AMQP's property of that name.",
            "The job's header 'vectorEncoding' is unknown and was ignored. Did you mean 'vector_encoding'?",
        ];
        var message = Message([1], headers: sent);
        Assert.Equal(told, message.Read().Warnings);
        Assert.Equal(told, (message with { Properties = message.CopyProperties() }).Read().Warnings); // as after a retry
        Assert.Equal(told, Message("""{"specversion":"1.0","id":"e","source":"/s","type":"t","data_base64":"AAAA"}"""u8.ToArray(), EmbedResult.CloudEventType, headers: sent).Read().Warnings);
    }

    [Theory]
    [InlineData("Id", "a raw job's id is its message_id")]
    [InlineData("priorty", "a raw job's priority is AMQP's property")]
    [InlineData("modes", "Did you mean 'mode'?")]
    [InlineData("Mode", "Did you mean 'mode'?")]
    [InlineData("Details", "Did you mean 'detail'?")]
    public void A_header_that_is_almost_a_fields_is_told(string name, string told) =>
        Assert.Contains(told, Assert.Single(Message([1], headers: new() { [name] = 1 }).Read().Warnings!), StringComparison.Ordinal);

    [Fact]
    public void Of_many_ignored_headers_ten_are_named_and_the_others_counted_after_a_retry_too()
    {
        var message = Message([1], headers: Enumerable.Range(0, 15).ToDictionary(n => new string('_', n) + "modes", _ => (object?)1));
        Assert.Equal((11, "And 5 more headers of the job were ignored."), (message.Read().Warnings!.Count, message.Read().Warnings![^1]));
        Assert.Equal(message.Read().Warnings, (message with { Properties = message.CopyProperties() }).Read().Warnings);
    }

    /// <summary>Of brokers, tracing and frameworks of messages, or of the producer's own.</summary>
    [Theory]
    [InlineData("x-delivery-count", "x-death", "x-acquired-count", "x-first-death-queue", "x-stream-offset", "x-opt-rabbitmq-delivery-time", "CC", "BCC")]
    [InlineData("fw-attempt", "fw-bulk", "fw-replays", "fw-expiration", "fw-first-failed")]
    [InlineData("traceparent", "tracestate", "baggage", "b3", "uber-trace-id", "sentry-trace", "elastic-apm-traceparent", "x-datadog-trace-id", "dd-pathway-ctx-base64")]
    [InlineData("cloudEvents:id", "cloudEvents:type", "cloudEvents_source", "ce-id")]
    [InlineData("NServiceBus.MessageId", "rbs2-msg-id", "MT-Host-Info", "Content-Type", "__TypeId__", "spring_json_header_types", "contentType", "task", "lang", "root_id", "timestamp_in_ms", "JMSType", "messageType", "sent_at", "retries")]
    [InlineData("tenant", "colour", "source", "user", "date", "node", "model", "node_id", "mod", "mood", "made", "moods", "modem", "ids", "uid", "pid", "_ID_x", "prior", "authority", "email", "max_files", "max_tries")]
    public void Headers_of_others_are_not_told(params string[] names) => Assert.Null(Message([1], headers: names.ToDictionary(n => n, _ => (object?)1)).Read().Warnings);

    /// <summary>Unknown fields are somebody else's: a million of them is not written out to name ten.</summary>
    [Fact]
    public void A_job_of_many_unknown_fields_costs_no_more_than_it_has()
    {
        var body = Encoding.UTF8.GetBytes($$"""{"image":{"data":"AQID"}{{string.Concat(Enumerable.Range(0, 200_000).Select(n => $",\"{n}\":0"))}}}""");
        var parsed = Allocated(() => System.Text.Json.JsonDocument.Parse(body).Dispose());
        var read = Allocated(() => Assert.Equal("And 199,990 more fields of the job were ignored.", Message(body, "application/json").Read().Warnings![^1]));
        Assert.InRange(read, 0, parsed + 5_000_000); // a sentence for each would be 40 MB more

        static long Allocated(Action action)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            action();
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }
    }

    [Fact]
    public void Deep_json_invalid_utf8_and_long_ids_are_malformed()
    {
        Malformed(Json(new string('[', 10_000)), "cannot be read");
        Malformed(Message([(byte)'{', (byte)'"', 0xFF, (byte)'"', (byte)'}'], "application/json"), "not UTF-8");
        Malformed(Json("""{"id":"NAME","image":{"data":"AQID"}}""".Replace("NAME", new string('x', 10_000), StringComparison.Ordinal)), "10000 bytes");
        Malformed(Message([1], "text/plain"), "'text/plain'");
        Malformed(Message([1], headers: new() { ["metadata"] = "{"u8.ToArray() }), "'metadata' is not JSON: it ends before its last object or list does (line 1, byte 2).");
        Malformed(Message([1], headers: new() { ["metadata"] = Encoding.ASCII.GetBytes($$"""{"a":"{{new string('x', 20_000)}}"}""") }), "16,384 are allowed");
        Malformed(Message([1], headers: new() { ["mode"] = new byte[] { 0xFF } }), "'mode' is not text");
        Malformed(Message([1], headers: new() { ["mode"] = 7 }), "'mode' is not text");
    }

    [Theory]
    [InlineData(3, 3)]
    [InlineData(3L, 3)]
    [InlineData(0, 1)]
    [InlineData(0L, 1)]
    [InlineData((long)int.MaxValue, int.MaxValue)]
    [InlineData(int.MaxValue + 1L, 1)]
    [InlineData(-1, 1)]
    [InlineData("many", 1)]
    [InlineData(long.MaxValue, 1)]
    public void The_attempt_is_counted_in_a_header_of_our_own(object header, int attempt) =>
        Assert.Equal(attempt, Message([1], headers: new() { ["fw-attempt"] = header }).Attempt);

    [Fact]
    public void A_large_body_is_neither_copied_nor_turned_into_text()
    {
        var body = new byte[32 * 1024 * 1024];
        var json = System.Text.Encoding.ASCII.GetBytes($$$"""{"image":{"data":"{{{Convert.ToBase64String(body)}}}"}}""");
        Assert.Same(body, Assert.IsType<ImageSource.Data>(Message(body).Read().Image).Bytes);

        Message("{\"image\":{\"data\":\"AAAA\"}}"u8.ToArray(), "application/json", id: "warm").Read();
        var (message, before) = (Message(json, "application/json", id: "large"), GC.GetAllocatedBytesForCurrentThread());
        Assert.Equal(body.Length, Assert.IsType<ImageSource.Data>(message.Read().Image).Bytes.Length);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, body.Length, body.Length + (body.Length / 8)); // its bytes, once
    }

    [Fact]
    public void Priority_and_expiry_survive_whatever_becomes_of_a_job()
    {
        var message = new JobMessage(new byte[] { 1 }, new BasicProperties { MessageId = "m", Priority = 7, Expiration = "60000" });
        var now = DateTimeOffset.UnixEpoch;
        var retry = DeadLetters.ForRetry(message, new JobOutcome.Retry("io", "away"), now);
        Assert.Equal((7, null, "60000"), (retry.Priority, retry.Expiration, retry.Headers!["fw-expiration"]));
        Assert.False(message.ExpiresBefore(now.AddSeconds(59), now));
        Assert.True(message.ExpiresBefore(now.AddSeconds(61), now));

        var again = new JobMessage(new byte[] { 1 }, retry);
        Assert.True(again.ExpiresBefore(now.AddSeconds(61), now.AddSeconds(30))); // counted from the first failure
        var letter = DeadLetters.ForDeadLetter(again, "m", "refused", "no", null, now);
        Assert.Equal((7, null, "60000"), (letter.Priority, letter.Expiration, letter.Headers!["fw-expiration"]));
        foreach (var copy in new[] { DeadLetters.ForReturn(again), DeadLetters.ForReplay(new JobMessage(new byte[] { 1 }, letter)) })
        {
            Assert.Equal((7, "60000", false), (copy.Priority, copy.Expiration, copy.Headers!.ContainsKey("fw-expiration")));
        }

        Assert.Null(new JobMessage(new byte[] { 1 }, new BasicProperties { Expiration = "soon" }).Expiration);
    }

    [Theory]
    [InlineData("""{"priority":9,"image":{"data":"AAAA"}}""", "application/json")]
    [InlineData("""{"specversion":"1.0","id":"e","source":"/s","type":"t","priority":9,"data":{"image":{"data":"AAAA"}}}""", "application/cloudevents+json")]
    [InlineData("""{"specversion":"1.0","id":"e","source":"/s","type":"t","priority":1,"data":{"priority":9,"image":{"data":"AAAA"}}}""", "application/cloudevents+json")]
    [InlineData("""{"specversion":"1.0","id":"e","source":"/s","type":"t","data_base64":"AAAA","priority":9}""", "application/cloudevents+json")]
    public void A_priority_in_the_body_is_the_property_of_every_copy(string json, string contentType)
    {
        var message = Message(Encoding.UTF8.GetBytes(json), contentType, id: "m");
        Assert.Null(message.Read().Warnings);
        var letter = DeadLetters.ForDeadLetter(message, "m", "refused", "no", null, DateTimeOffset.UnixEpoch);
        Assert.All([DeadLetters.ForRetry(message, new JobOutcome.Retry("io", "away"), DateTimeOffset.UnixEpoch), letter, DeadLetters.Least(message, letter), DeadLetters.ForReturn(message), DeadLetters.ForReplay(new JobMessage(message.Body, letter))],
            copy => Assert.Equal(9, copy.Priority));
        Assert.Equal(3, new JobMessage(message.Body, new BasicProperties { ContentType = contentType, Priority = 3 }).CopyProperties().Priority); // the property is what the broker went by
    }

    [Theory]
    [InlineData("256")]
    [InlineData("-1")]
    [InlineData("1.5")]
    [InlineData("\"high\"")]
    public void A_priority_is_a_number_of_AMQPs(string priority)
    {
        foreach (var (json, type) in new[] { ($$$"""{"priority":{{{priority}}},"image":{"data":"AAAA"}}""", "application/json"), ($$$"""{"specversion":"1.0","id":"e","source":"/s","type":"t","priority":{{{priority}}},"data_base64":"AAAA"}""", "application/cloudevents+json") })
        {
            var message = Message(Encoding.UTF8.GetBytes(json), type);
            Assert.Equal($"The priority {priority} is no whole number from 0 to 255.", Assert.Throws<MalformedJobException>(message.Read).Message);
            Assert.False(message.CopyProperties().IsPriorityPresent());
        }
    }

    /// <summary>What JSON Schema calls an integer.</summary>
    [Theory]
    [InlineData("5", "4")]
    [InlineData("5.0", "4.00")]
    [InlineData("5e0", "0.4E1")]
    [InlineData("50e-1", "40e-1")]
    public void A_whole_number_may_be_written_as_JSON_likes(string five, string four)
    {
        var message = Json($$"""{"image":{"data":"AQID"},"max_faces":{{five}},"min_face_size":{{five}},"detail":{{four}},"priority":{{five}}}""");
        var job = message.Read();
        Assert.Equal((5, 5, 4, null), (job.MaxFaces, job.MinFaceSize, job.Detail, job.Warnings));
        Assert.Equal(5, message.CopyProperties().Priority);
    }

    [Fact]
    public void A_whole_number_may_be_a_header_of_any_numbers_type()
    {
        foreach (var five in (object[])[5, 5L, (byte)5, 5.0, 5f, 5.0m, "5"u8.ToArray(), "5.0"u8.ToArray(), "5e0"u8.ToArray()])
        {
            Assert.Equal(5, Message([1], headers: new() { ["max_faces"] = five }).Read().MaxFaces);
        }

        foreach (var (wrong, told) in new (object, string)[] { (5.5, "5.5"), (double.NaN, "NaN"), (1e300, "1E+300"), (5.5m, "5.5"), ("5.5"u8.ToArray(), "5.5"), ("1e400"u8.ToArray(), "1e400") })
        {
            Malformed(Message([1], headers: new() { ["max_faces"] = wrong }), $"The max_faces '{told}' is no whole number from 1 to 100,000.");
        }
    }

    [Theory]
    [InlineData("5.5")]
    [InlineData("1e400")]
    [InlineData("1e20")]
    [InlineData("-1e20")]
    [InlineData("5.0000001")]
    public void A_number_that_is_not_whole_or_too_large_is_quoted(string number)
    {
        Malformed(Json($$"""{"image":{"data":"AQID"},"max_faces":{{number}}}"""), $"The max_faces '{number}' is no whole number from 1 to 100,000.");
        Malformed(Json($$"""{"image":{"data":"AQID"},"priority":{{number}}}"""), $"The priority {number} is no whole number from 0 to 255.");
    }

    [Fact]
    public void A_bulk_job_stays_one_whatever_becomes_of_it()
    {
        var message = Message([1, 2, 3], id: "m") with { CameAsBulk = true };
        var letter = DeadLetters.ForDeadLetter(message, "m", "refused", "no", null, DateTimeOffset.UnixEpoch);
        Assert.All([DeadLetters.ForRetry(message, new JobOutcome.Retry("io", "away"), DateTimeOffset.UnixEpoch), DeadLetters.ForReturn(message), DeadLetters.Least(message, letter), DeadLetters.ForReplay(new JobMessage(message.Body, letter))],
            copy => Assert.True(new JobMessage(message.Body, copy).IsBulk));
        Assert.False(Message([1, 2, 3], id: "m").IsBulk);
    }

    [Fact]
    public void A_copy_keeps_what_the_producer_set_and_nothing_of_the_broker()
    {
        var message = new JobMessage(new byte[] { 1 }, new BasicProperties
        {
            MessageId = "m",
            ContentType = "image/png",
            CorrelationId = "c",
            ReplyTo = "r",
            Type = "t",
            Expiration = "1000",
            UserId = "guest",
            DeliveryMode = DeliveryModes.Transient,
            Headers = new Dictionary<string, object?>
            {
                ["mode"] = "image"u8.ToArray(),
                ["metadata"] = "{}"u8.ToArray(),
                ["traceparent"] = "00-1"u8.ToArray(),
                ["fw-first-failed-at"] = "then"u8.ToArray(),
                ["x-death"] = new List<object?>(),
                ["x-first-death-queue"] = "face.jobs",
                ["x-delivery-count"] = 7L,
                ["x-acquired-count"] = 7L,
                ["x-dotnet-pub-seq-no"] = 1L,
                ["CC"] = new List<object?> { "elsewhere" },
                ["BCC"] = new List<object?> { "elsewhere" },
                ["fw-attempt"] = 3,
                ["other"] = "x",
            },
        });

        var copy = message.CopyProperties();

        Assert.Equal(["fw-expiration", "fw-first-failed-at", "metadata", "mode", "traceparent"], copy.Headers!.Keys.Order());
        Assert.Equal(("m", "image/png", "c", "r", "t", DeliveryModes.Persistent), (copy.MessageId, copy.ContentType, copy.CorrelationId, copy.ReplyTo, copy.Type, copy.DeliveryMode));
        Assert.False(copy.IsExpirationPresent() || copy.IsUserIdPresent());
    }

    /// <summary>What a job asks for stays as wrong as it was; of the rest nothing is better than half.</summary>
    [Theory]
    [InlineData("mode", 256, true)]
    [InlineData("metadata", 16 * 1024 + 1, true)]
    [InlineData("detail", 256, true)]
    [InlineData("deadline", 256, true)]
    [InlineData("vector_encoding", 256, true)]
    [InlineData("max_faces", 256, true)]
    [InlineData("min_face_size", 256, true)]
    [InlineData("return_crops", 256, true)]
    [InlineData("landmarks", 1025, true)]
    [InlineData("traceparent", 100, false)]
    [InlineData("tracestate", 1024, false)]
    [InlineData("baggage", 8 * 1024, false)]
    [InlineData("fw-first-failed-at", 40, false)]
    [InlineData("fw-replays", 0, false)]
    [InlineData("modus", 256, true)] // what the result warns of
    public void A_header_goes_along_as_far_as_it_may(string name, int longest, bool cut)
    {
        foreach (var text in new object[] { new string('a', longest), new byte[longest] })
        {
            Assert.Equal(longest, Assert.IsType<byte[]>(Copied(text)).Length);
        }

        Assert.Equal(cut ? longest : null, (Copied(new byte[longest + 1]) as byte[])?.Length);
        Assert.Equal(cut ? true : null, Copied(new List<object?>()));
        Assert.Equal(cut ? 1.5 : null, Copied(1.5));
        Assert.Equal(cut ? 1.5f : null, Copied(1.5f));
        Assert.Equal(cut ? 1.5m : null, Copied(1.5m));
        Assert.All(new object[] { (sbyte)7, (byte)7, (short)7, (ushort)7, 7, 7U, 7L }, number => Assert.Equal(number, Copied(number)));
        Assert.Null(Copied(null));

        object? Copied(object? value) => Message([1], headers: new() { [name] = value }).CopyProperties().Headers!.TryGetValue(name, out var copied) ? copied : null;
    }

    [Theory]
    [InlineData("1234567890", "1234567890")]
    [InlineData("12345678901", null)]
    [InlineData("", null)]
    [InlineData("1 0", null)]
    [InlineData("-1", null)]
    public void An_expiry_is_milliseconds_as_AMQP_has_them(string sent, string? told)
    {
        Assert.Equal(told, new JobMessage(new byte[] { 1 }, new BasicProperties { Expiration = sent }).Expiration);
        Assert.Equal(told, Message([1], headers: new() { ["fw-expiration"] = Encoding.ASCII.GetBytes(sent) }).Expiration);
    }

    [Fact]
    public void The_property_tells_the_expiry_where_a_header_tells_another() =>
        Assert.Equal("1", new JobMessage(new byte[] { 1 }, new BasicProperties { Expiration = "1", Headers = new Dictionary<string, object?> { ["fw-expiration"] = "2" } }).Expiration);

    [Fact]
    public void A_job_that_waits_exactly_as_long_as_it_may_is_not_late()
    {
        var (message, now) = (new JobMessage(new byte[] { 1 }, new BasicProperties { Expiration = "1000" }), DateTimeOffset.UnixEpoch);
        Assert.False(message.ExpiresBefore(now.AddSeconds(1), now));
        Assert.True(message.ExpiresBefore(now.AddMilliseconds(1001), now));
        Assert.False(Message([1]).ExpiresBefore(now.AddYears(1), now));
    }

    [Fact]
    public void Properties_of_a_copy_are_the_producers_as_far_as_AMQP_has_room()
    {
        var time = new AmqpTimestamp(1_700_000_000);
        var full = new BasicProperties { ContentEncoding = "utf-8", AppId = "uploader", Timestamp = time, CorrelationId = new string('c', 255), ReplyTo = new string('r', 256), Type = new string('ü', 128), MessageId = new string('m', 300), ContentType = new string('x', 300) };
        var copy = new JobMessage(new byte[] { 1 }, full).CopyProperties();
        Assert.Equal(("utf-8", "uploader", time, full.CorrelationId), (copy.ContentEncoding, copy.AppId, copy.Timestamp, copy.CorrelationId));
        Assert.Equal((new string('r', 252) + "…", new string('ü', 126) + "…", new string('m', 252) + "…", new string('x', 252) + "…"), (copy.ReplyTo, copy.Type, copy.MessageId, copy.ContentType));

        var none = Message([1]).CopyProperties();
        Assert.False(none.IsTimestampPresent() || none.IsContentEncodingPresent() || none.IsAppIdPresent() || none.IsPriorityPresent() || none.IsReplyToPresent());
        Assert.Empty(none.Headers!);
    }

    [Fact]
    public void Returns_are_the_larger_of_two_counts()
    {
        Assert.Equal(5, Message([1], headers: new() { ["x-delivery-count"] = 3L, ["x-acquired-count"] = 5L }).Returns);
        Assert.Equal(4, Message([1], headers: new() { ["x-delivery-count"] = 4 }).Returns);
        Assert.Equal(0, Message([1], headers: new() { ["x-delivery-count"] = "4" }).Returns);
    }

    [Fact]
    public void A_header_says_that_a_job_is_a_bulk_job()
    {
        Assert.True(Message([1], headers: new() { ["fw-bulk"] = 1 }).IsBulk);
        Assert.False(Message([1], headers: new() { ["fw-bulk"] = 0 }).IsBulk);
    }

    [Fact]
    public void A_body_that_shares_its_array_is_copied()
    {
        byte[] all = [1, 2, 3, 4];
        Assert.Same(all, new JobMessage(all, new BasicProperties()).Bytes());
        Assert.Equal([2, 3], new JobMessage(all.AsMemory(1, 2), new BasicProperties()).Bytes());
        Assert.Equal([1, 2], new JobMessage(all.AsMemory(0, 2), new BasicProperties()).Bytes());
    }

    [Theory]
    [InlineData(100, 100)]
    [InlineData(101, 101)] // the ellipsis stands for one
    [InlineData(500, 101)]
    public void What_an_error_quotes_is_cut(int length, int quoted)
    {
        var clipped = JobMessage.Clip(new string('a', length));
        Assert.Equal((quoted, length > 100), (clipped.Length, clipped.EndsWith('…')));
    }

    [Fact]
    public void Error_headers_are_bounded_and_cut_between_characters()
    {
        var rejected = DeadLetters.ForDeadLetter(Message([1]), "id", "refused", new string('ü', 5000), new string('…', 50_000), DateTimeOffset.UnixEpoch);
        Assert.InRange(Encoding.UTF8.GetByteCount((string)rejected.Headers!["fw-error-message"]!), 1000, 1024);
        Assert.InRange(Encoding.UTF8.GetByteCount((string)rejected.Headers["fw-error-detail"]!), 4000, 4096);
        Assert.EndsWith("ü…", (string)rejected.Headers["fw-error-message"]!, StringComparison.Ordinal);
        Assert.Equal(
            ["fw-attempt", "fw-error", "fw-error-detail", "fw-error-message", "fw-first-failed-at", "fw-last-failed-at", "fw-replays", "fw-version", "fw-worker"],
            rejected.Headers.Keys.Order());
        Assert.Equal("id", rejected.MessageId);
    }

    private static void Malformed(JobMessage message, string told) =>
        Assert.Contains(told, Assert.Throws<MalformedJobException>(message.Read).Message, StringComparison.Ordinal);

    private static JobMessage Json(string json) => Message(Encoding.UTF8.GetBytes(json), "application/json");

    private static JobMessage Message(byte[] body, string? contentType = null, string? id = null, Dictionary<string, object?>? headers = null)
    {
        var properties = new BasicProperties { Headers = headers };
        if (contentType is not null)
        {
            properties.ContentType = contentType;
        }

        if (id is not null)
        {
            properties.MessageId = id;
        }

        return new JobMessage(body, properties);
    }
}
