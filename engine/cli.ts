#!/usr/bin/env node
console.log('tunesmith');
