using System.Net;
using FaceEmbedWorker.Images;

namespace FaceEmbedWorker.Tests.Images;

/// <summary>The first and the last address of each network of IANA's registries, and their neighbours.</summary>
public class PublicAddressTests
{
    [Theory]
    [InlineData("0.0.0.0", "0.255.255.255")]
    [InlineData("10.0.0.0", "10.255.255.255")]
    [InlineData("100.64.0.0", "100.127.255.255")]
    [InlineData("127.0.0.0", "127.255.255.255")]
    [InlineData("169.254.0.0", "169.254.255.255")]
    [InlineData("172.16.0.0", "172.31.255.255")]
    [InlineData("192.0.0.0", "192.0.0.255")]
    [InlineData("192.0.2.0", "192.0.2.255")]
    [InlineData("192.168.0.0", "192.168.255.255")]
    [InlineData("198.18.0.0", "198.19.255.255")]
    [InlineData("198.51.100.0", "198.51.100.255")]
    [InlineData("203.0.113.0", "203.0.113.255")]
    [InlineData("224.0.0.0", "255.255.255.255")]
    [InlineData("::", "1fff:ffff::")]
    [InlineData("2001::", "2001:1ff::")]
    [InlineData("2001:db8::", "2001:db8:ffff::")]
    [InlineData("2002::", "2002:ffff::")]
    [InlineData("3fff::", "3fff:fff::")]
    [InlineData("4000::", "ffff::")]
    [InlineData("fe80::1%3", "fe80::1")]
    public void Networks_that_are_not_public_are_not_reached(string first, string last)
    {
        foreach (var address in new[] { first, last }.Select(IPAddress.Parse))
        {
            Assert.False(PublicAddress.MayReach(address, []));
            Assert.False(PublicAddress.MayReach(address.MapToIPv6(), []));
            Assert.False(PublicAddress.MayReach(address, [IPNetwork.Parse("9.0.0.0/8"), IPNetwork.Parse("2a00::/16")]));
        }
    }

    [Theory]
    [InlineData("9.255.255.255")]
    [InlineData("11.0.0.0")]
    [InlineData("100.63.255.255")]
    [InlineData("100.128.0.0")]
    [InlineData("172.15.255.255")]
    [InlineData("172.32.0.0")]
    [InlineData("198.17.255.255")]
    [InlineData("198.20.0.0")]
    [InlineData("223.255.255.255")]
    [InlineData("2000::1")]
    [InlineData("2001:200::1")]
    [InlineData("2a00:1450::1")]
    [InlineData("2a00:1450::1%4")]
    [InlineData("3ffe:ffff::1")]
    public void All_others_are(string address)
    {
        Assert.True(PublicAddress.MayReach(IPAddress.Parse(address), []));
        Assert.True(PublicAddress.MayReach(IPAddress.Parse(address).MapToIPv6(), []));
    }

    [Fact]
    public void What_is_allowed_is_reached_whatever_it_is()
    {
        IPNetwork[] allowed = [IPNetwork.Parse("10.1.0.0/16"), IPNetwork.Parse("fe80::/64")];
        Assert.All(new[] { "10.1.2.3", "::ffff:10.1.2.3", "fe80::1", "fe80::1%3" }, a => Assert.True(PublicAddress.MayReach(IPAddress.Parse(a), allowed)));
        Assert.All(new[] { "10.2.2.3", "::ffff:10.2.2.3", "fe80:0:0:1::1" }, a => Assert.False(PublicAddress.MayReach(IPAddress.Parse(a), allowed)));
    }
}
